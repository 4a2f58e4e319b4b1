//===- TensorChoice.cpp - Which weights the ranks of tp share ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each candidate is a wish that a value be split. It is followed backwards through
// the rules of the ops, to parameters, which get their splits from it, or to values
// that no parameter moves, of which a rank can take its piece. One that ends
// elsewhere, or contradicts itself or an earlier one, is dropped as a whole.
//
//===----------------------------------------------------------------------===//
#include "TensorChoice.h"
#include "TensorRules.h"
#include "dialects/nn/NN.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/DenseSet.h"
#include <numeric>

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

namespace {

class TensorChoice {
public:
  TensorChoice(func::FuncOp step, int64_t ranks, int64_t tokens)
      : block(step.getBody().front()), ranks(ranks), tokens(tokens) {}
  FailureOr<ParameterShards> run();

private:
  LogicalResult checkHeads(nn::AttentionOp op);
  void findForward();
  /// All of these at once, or nothing.
  bool tryWishes(ArrayRef<std::pair<Value, Shard>> wishes);
  /// A product by rows, if products by columns give what it reads.
  bool tryPair(Value lhs, int64_t lhsInner, Value rhs, int64_t rhsInner);
  bool follow(Value value, const Shard &shard);
  bool followToParameter(pipe::ReadOp read, const Shard &shard);

  Block &block;
  int64_t ranks, tokens;
  llvm::DenseSet<Operation *> forward; ///< what the loss depends on
  llvm::DenseSet<Value> moving;        ///< what depends on a parameter
  ParameterShards chosen;
  // Of the wish that is followed:
  ParameterShards pending;
  DenseMap<Value, Shard> seen;
};

} // namespace

void TensorChoice::findForward() {
  for (Operation &op : block)
    if (isa<pipe::ReadOp>(op) ||
        llvm::any_of(op.getOperands(), [&](Value v) { return moving.contains(v); }))
      moving.insert(op.result_begin(), op.result_end());
  SmallVector<Operation *> work = {block.getTerminator()};
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (op && forward.insert(op).second)
      for (Value operand : op->getOperands())
        work.push_back(operand.getDefiningOp());
  }
}

/// The divisor of `of` nearest to `to`, of two the smaller.
static int64_t nearestDivisor(int64_t of, int64_t to) {
  int64_t best = 1;
  for (int64_t n = 1; n <= of; ++n)
    if (of % n == 0 && std::abs(n - to) < std::abs(best - to))
      best = n;
  return best;
}

LogicalResult TensorChoice::checkHeads(nn::AttentionOp op) {
  int64_t heads = sizes(op.getQuery())[1], keyHeads = sizes(op.getKey())[1];
  if (heads % ranks == 0 && keyHeads % ranks == 0)
    return success();
  bool ofKeys = keyHeads % ranks != 0;
  return emitError(op.getLoc()) << (ofKeys ? keyHeads : heads) << (ofKeys ? " key" : " query")
                                << " heads of attention cannot be shared equally by tp = " << ranks
                                << " ranks; the nearest size that fits is tp = "
                                << nearestDivisor(std::gcd(heads, keyHeads), ranks) << " (--mesh)";
}

bool TensorChoice::followToParameter(pipe::ReadOp read, const Shard &shard) {
  auto parameter =
      SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(read, read.getParameterAttr());
  // A dim that another axis cuts already is left to it.
  if (auto other = parameter.getShardingAttr(); other && other.isSplit(shard.dim))
    return false;
  StringAttr name = read.getParameterAttr().getAttr();
  auto [it, isNew] = pending.try_emplace(name, shard);
  if (!isNew)
    return it->second == shard;
  auto earlier = chosen.find(name);
  return earlier == chosen.end() || earlier->second == shard;
}

bool TensorChoice::follow(Value value, const Shard &shard) {
  if (!fits(shard, value.getType(), ranks))
    return false;
  if (!moving.contains(value))
    return true;
  auto [it, isNew] = seen.try_emplace(value, shard);
  if (!isNew)
    return it->second == shard;
  if (auto read = value.getDefiningOp<pipe::ReadOp>())
    return followToParameter(read, shard);
  // A table of tokens is cut by tokens, whatever would like its rows in pieces.
  auto gather = value.getDefiningOp<nn::GatherOp>();
  if (gather && sizes(gather.getTable())[0] == tokens)
    return false;
  Wishes wishes;
  return wants(cast<OpResult>(value), shard, ranks, wishes) &&
         llvm::all_of(wishes, [&](auto &wish) { return follow(wish.first, wish.second); });
}

bool TensorChoice::tryWishes(ArrayRef<std::pair<Value, Shard>> wishes) {
  pending.clear();
  seen.clear();
  if (!llvm::all_of(wishes, [&](auto &wish) { return follow(wish.first, wish.second); }))
    return false;
  // A norm over all heads of queries or keys is worth a collective of its own. One of
  // the residual stream is not: what it normalizes is better whole.
  bool acrossNorm = false, attention = false;
  for (auto &[value, shard] : seen) {
    auto norm = value.getDefiningOp<nn::RMSNormOp>();
    acrossNorm |= norm && shard.dim + 1 == (int64_t)sizes(value).size();
    attention |= isa_and_nonnull<nn::AttentionOp>(value.getDefiningOp());
  }
  if (acrossNorm && !attention)
    return false;
  for (auto &[name, shard] : pending)
    chosen.try_emplace(name, shard);
  return true;
}

bool TensorChoice::tryPair(Value lhs, int64_t lhsInner, Value rhs, int64_t rhsInner) {
  Shard split = Shard::split(lhs.getType(), lhsInner);
  // Followed alone first: where no weight is split, there is nothing to be had.
  ParameterShards before = chosen;
  return tryWishes({{lhs, split}}) && !pending.empty() &&
         (tryWishes({{rhs, split.at(rhsInner)}, {lhs, split}}) || (chosen = before, false));
}

/// `value` is a parameter in another form.
static bool isWeight(Value value) {
  Operation *op = value.getDefiningOp();
  while (
      isa_and_nonnull<nn::TransposeOp, nn::ReshapeOp, nn::SliceOp, arith::TruncFOp, arith::ExtFOp>(
          op))
    op = op->getOperand(0).getDefiningOp();
  return isa_and_nonnull<pipe::ReadOp>(op);
}

FailureOr<ParameterShards> TensorChoice::run() {
  findForward();
  auto eachForward = [&](auto visit) {
    for (Operation &op : block)
      if (forward.contains(&op))
        visit(&op);
  };
  bool legal = true;
  eachForward([&](Operation *op) {
    if (auto attention = dyn_cast<nn::AttentionOp>(op))
      legal = legal && succeeded(checkHeads(attention));
  });
  if (!legal)
    return failure();

  // 1. Pairs of products.
  llvm::DenseSet<Operation *> shared; // attention that a pair took
  eachForward([&](Operation *op) {
    bool paired = false;
    if (auto product = dyn_cast<nn::MatmulOp>(op); product && isWeight(product.getRhs())) {
      int64_t l = sizes(product.getLhs()).size(), r = sizes(product.getRhs()).size();
      paired = tryPair(product.getLhs(), product.getTransposeLhs() ? l - 2 : l - 1,
                       product.getRhs(), product.getTransposeRhs() ? r - 1 : r - 2);
    } else if (auto grouped = dyn_cast<nn::GroupedMatmulOp>(op)) {
      paired =
          tryPair(grouped.getRows(), 1, grouped.getWeight(), grouped.getTransposeWeight() ? 2 : 1);
    }
    if (paired)
      for (auto &[value, shard] : seen)
        if (auto attention = value.getDefiningOp<nn::AttentionOp>())
          shared.insert(attention);
  });
  // 2. Attention whose output goes elsewhere first: heads are gathered after it.
  eachForward([&](Operation *op) {
    auto attention = dyn_cast<nn::AttentionOp>(op);
    if (attention && !shared.contains(op))
      tryWishes({{attention.getResult(), Shard::split(attention.getResult().getType(), 1)}});
  });
  // 3. The vocabulary.
  eachForward([&](Operation *op) {
    if (auto loss = dyn_cast<nn::CrossEntropyOp>(op))
      tryWishes({{loss.getLogits(), Shard::split(loss.getLogits().getType(), 1)}});
    auto gather = dyn_cast<nn::GatherOp>(op);
    if (gather && isWeight(gather.getTable()) && sizes(gather.getTable())[0] == tokens)
      tryWishes({{gather.getTable(), Shard::split(gather.getTable().getType(), 0)}});
  });
  return chosen;
}

FailureOr<ParameterShards> distribute::chooseTensorShards(func::FuncOp step, int64_t ranks,
                                                          int64_t tokens) {
  return TensorChoice(step, ranks, tokens).run();
}
