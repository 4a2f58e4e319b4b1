//===- TensorMovement.cpp - Splits through ops that move elements --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

//===----------------------------------------------------------------------===//
// Where a dim goes, and where it comes from
//===----------------------------------------------------------------------===//

static int64_t positionOf(ArrayRef<int64_t> list, int64_t value) {
  auto it = llvm::find(list, value);
  return it == list.end() ? -1 : it - list.begin();
}

/// Where dims that a reduction keeps go.
static int64_t afterReduce(ArrayRef<int64_t> dims, int64_t dim) {
  return dim - llvm::count_if(dims, [&](int64_t d) { return d < dim; });
}

/// The dim of the input that became `dim` of a reduction's result.
static int64_t beforeReduce(ArrayRef<int64_t> dims, int64_t dim) {
  for (int64_t d : dims)
    if (d <= dim)
      ++dim;
  return dim;
}

//===----------------------------------------------------------------------===//
// Forwards
//===----------------------------------------------------------------------===//

/// One input, one result: what becomes of the input's split, or nothing.
static std::optional<Shard> moved(Operation *op, const Shard &s, int64_t ranks) {
  using Result = std::optional<Shard>;
  int64_t last = (int64_t)sizes(op->getOperand(0)).size() - 1;
  return TypeSwitch<Operation *, Result>(op)
      .Case([&](nn::ReshapeOp op) {
        return throughReshape(sizes(op.getInput()), sizes(op.getResult()), s, ranks);
      })
      .Case([&](nn::TransposeOp op) { return s.at(positionOf(op.getPermutation(), s.dim)); })
      .Case([&](nn::BroadcastOp op) { return s.at(op.getDimensions()[s.dim]); })
      .Case([&](nn::SliceOp op) -> Result {
        if (auto window = throughSlice(s, op.getStarts()[s.dim], op.getLimits()[s.dim],
                                       op.getStrides()[s.dim], ranks))
          return window->shard;
        return std::nullopt;
      })
      .Case([&](nn::PadOp op) -> Result {
        if (auto padding = throughPad(s, op.getLow()[s.dim], op.getHigh()[s.dim],
                                      op.getInterior()[s.dim], ranks))
          return padding->shard;
        return std::nullopt;
      })
      .Case([&](nn::ReduceOp op) -> Result {
        if (!llvm::is_contained(op.getDims(), s.dim))
          return s.at(afterReduce(op.getDims(), s.dim));
        if (op.getKind() == nn::ReduceKind::sum)
          return Shard::unreduced();
        return std::nullopt;
      })
      .Case([&](nn::ReverseOp op) -> Result {
        return llvm::is_contained(op.getDims(), s.dim) ? Result() : Result(s);
      })
      .Case([&](nn::CumsumOp op) -> Result {
        return op.getAxis() == (uint64_t)s.dim ? Result() : Result(s);
      })
      .Case<nn::SoftmaxOp, nn::TopKOp>(
          [&](auto) -> Result { return s.dim == last ? Result() : Result(s); })
      .Default([](Operation *) { return std::nullopt; });
}

/// Ops of one input that are linear and do not make it larger: the sum over the ranks
/// may wait until after them.
static bool sumCanWait(Operation *op) {
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return reduce.getKind() == nn::ReduceKind::sum;
  if (auto pad = dyn_cast<nn::PadOp>(op))
    return pad.getValue().isZero();
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::ReverseOp>(op);
}

static void assignConcat(nn::ConcatOp op, Given given, Assignment &out) {
  auto all = [&](auto condition) { return llvm::all_of(given, condition); };
  if (all([](const Shard &s) { return s.isUnreduced(); })) {
    out.operands.assign(given.begin(), given.end());
    out.results[0] = Shard::unreduced();
    return;
  }
  const Shard *split = firstSplit(given);
  if (!split)
    return;
  int64_t dim = op.getDim();
  if (split->dim != dim) {
    out.operands.assign(given.size(), *split);
    out.results[0] = *split;
    return;
  }
  // Along the split dim, each input is a block or several.
  Shard joined = Shard::split(dim, {});
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    out.operands[i] = given[i].isSplit(dim) ? given[i] : Shard::split(input.getType(), dim);
    llvm::append_range(joined.blocks, out.operands[i].blocks);
  }
  out.results[0] = joined;
}

/// Ops along one axis whose operands agree in all other dims.
static void assignAlongAxis(Operation *op, int64_t axis, Given given, Assignment &out) {
  const Shard *split = firstSplit(given);
  if (!split || split->dim == axis)
    return;
  for (Value operand : op->getOperands())
    if (sizes(operand)[split->dim] != sizes(op->getOperand(0))[split->dim])
      return;
  out.operands.assign(given.size(), *split);
  out.results[0] = *split;
}

bool distribute::assignMovement(const TensorRules &rules, Operation *op, Given given,
                                Assignment &out) {
  if (auto concat = dyn_cast<nn::ConcatOp>(op))
    return assignConcat(concat, given, out), true;
  if (auto gather = dyn_cast<nn::GatherElementsOp>(op))
    return assignAlongAxis(op, gather.getAxis(), given, out), true;
  if (auto scatter = dyn_cast<nn::ScatterElementsOp>(op))
    return assignAlongAxis(op, scatter.getAxis(), given, out), true;
  if (isa<nn::SoftmaxGradOp>(op))
    return assignAlongAxis(op, (int64_t)sizes(op->getOperand(0)).size() - 1, given, out), true;
  if (auto move = dyn_cast<dist::AllToAllRowsOp>(op)) {
    // Rows move as they are, whatever a rank holds of each.
    if (given[0].isSplit(1) || given[0].isUnreduced())
      out.operands[0] = out.results[0] = given[0];
    return true;
  }
  if (op->getNumOperands() != 1 || !isa<RankedTensorType>(op->getOperand(0).getType()))
    return false;
  const Shard &s = given[0];
  std::optional<Shard> result;
  if (s.isSplit())
    result = moved(op, s, rules.ranks);
  else if (s.isUnreduced() && sumCanWait(op))
    result = s;
  if (!result)
    return isa<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp, nn::PadOp,
               nn::ReduceOp, nn::ReverseOp, nn::CumsumOp, nn::SoftmaxOp, nn::TopKOp>(op);
  out.operands[0] = s;
  out.results.assign(op->getNumResults(), *result);
  return true;
}

//===----------------------------------------------------------------------===//
// Backwards
//===----------------------------------------------------------------------===//

/// The blocks of a dim of which several windows are read: the fused weights of query,
/// key and value, or of gate and up. Nothing where windows overlap this one.
static std::optional<Shard> blocksOfWindows(nn::SliceOp op, const Shard &shard) {
  int64_t dim = shard.dim, size = sizes(op.getInput())[dim];
  SmallVector<int64_t> cuts = {0, size};
  for (Operation *user : op.getInput().getUsers()) {
    auto other = dyn_cast<nn::SliceOp>(user);
    if (other && other.getStrides()[dim] == 1)
      cuts.append({other.getStarts()[dim], other.getLimits()[dim]});
  }
  llvm::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  Shard result = Shard::split(dim, {});
  SmallVector<int64_t> own;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    bool inside = cuts[i] >= op.getStarts()[dim] && cuts[i + 1] <= op.getLimits()[dim];
    if (!inside) {
      result.blocks.push_back(cuts[i + 1] - cuts[i]);
    } else if (own.empty()) {
      // This window's own blocks may be finer than one, but nobody else may cut it.
      own.assign(shard.blocks.begin(), shard.blocks.end());
      llvm::append_range(result.blocks, own);
      if (cuts[i + 1] != op.getLimits()[dim])
        return std::nullopt;
    }
  }
  return result;
}

static std::optional<Shard> beforeSlice(nn::SliceOp op, const Shard &s) {
  int64_t stride = op.getStrides()[s.dim], size = sizes(op.getInput())[s.dim];
  if (stride == 1)
    return blocksOfWindows(op, s);
  // Every stride-th element of the whole dim.
  if (op.getStarts()[s.dim] >= stride || op.getLimits()[s.dim] <= size - stride ||
      size % stride != 0)
    return std::nullopt;
  Shard result = s;
  for (int64_t &block : result.blocks)
    block *= stride;
  return result;
}

static bool concatWants(nn::ConcatOp op, const Shard &s, Wishes &wishes) {
  if (s.dim != (int64_t)op.getDim()) {
    for (Value input : op.getInputs())
      wishes.push_back({input, s});
    return true;
  }
  const int64_t *block = s.blocks.begin();
  for (Value input : op.getInputs()) {
    Shard own = Shard::split(s.dim, {});
    int64_t left = sizes(input)[s.dim];
    for (; left > 0 && block != s.blocks.end() && *block <= left; ++block) {
      own.blocks.push_back(*block);
      left -= *block;
    }
    if (left != 0)
      return false;
    wishes.push_back({input, own});
  }
  return true;
}

std::optional<bool> distribute::movementWants(OpResult result, const Shard &s, int64_t ranks,
                                              Wishes &wishes) {
  auto want = [&](Value value, std::optional<Shard> shard) {
    if (shard)
      wishes.push_back({value, *shard});
    return shard.has_value();
  };
  return TypeSwitch<Operation *, std::optional<bool>>(result.getOwner())
      .Case([&](nn::ReshapeOp op) {
        return want(op.getInput(),
                    throughReshape(sizes(op.getResult()), sizes(op.getInput()), s, ranks));
      })
      .Case(
          [&](nn::TransposeOp op) { return want(op.getInput(), s.at(op.getPermutation()[s.dim])); })
      .Case([&](nn::BroadcastOp op) {
        // Repeated along the dim: each rank repeats less often.
        int64_t dim = positionOf(op.getDimensions(), s.dim);
        return dim < 0 || want(op.getInput(), s.at(dim));
      })
      .Case([&](nn::SliceOp op) { return want(op.getInput(), beforeSlice(op, s)); })
      .Case([&](nn::ReduceOp op) {
        return want(op.getInput(), s.at(beforeReduce(op.getDims(), s.dim)));
      })
      .Case([&](nn::ConcatOp op) { return concatWants(op, s, wishes); })
      .Case([&](nn::SoftmaxOp op) {
        return s.dim + 1 < (int64_t)sizes(op.getResult()).size() && want(op.getInput(), s);
      })
      .Default([](Operation *) { return std::nullopt; });
}
