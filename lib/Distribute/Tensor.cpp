//===- Tensor.cpp - Weights and activations shared by the ranks of tp ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorChoice.h"
#include "TensorLocal.h"
#include "TensorRules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Distribute/Passes.h"

namespace moire::distribute {
#define GEN_PASS_DEF_DISTRIBUTETENSOR
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

static const StringLiteral kAxis = "tp";

/// The states of all values of a block, and what its ops do with them.
namespace {
class Propagation {
public:
  Propagation(int64_t ranks, const ParameterShards &parameters)
      : ranks(ranks), parameters(parameters) {}

  void run(Block &block) {
    for (BlockArgument argument : block.getArguments())
      states[argument] = Shard::replicated();
    for (Operation &op : block) {
      if (auto sum = dyn_cast<arith::AddFOp>(op)) {
        addSummandsFirst(sum);
        noteSum(sum);
      }
      assignments[&op] = assign(&op);
    }
  }

  DenseMap<Operation *, Assignment> assignments;

private:
  /// Remembers sums of a whole and an unreduced value that nothing else reads.
  void noteSum(arith::AddFOp sum) {
    for (auto [number, operand] : llvm::enumerate(sum->getOperands()))
      if (states[operand].isUnreduced() && operand.hasOneUse() &&
          states[sum->getOperand(1 - number)].isWhole())
        summandOf[sum] = number;
  }

  /// (whole + a) + b, where a and b are unreduced, as whole + (a + b): one sum over the
  /// ranks instead of two. Cotangents of a residual come in this form.
  void addSummandsFirst(arith::AddFOp outer) {
    for (auto [number, operand] : llvm::enumerate(outer->getOperands())) {
      Operation *inner = operand.getDefiningOp();
      Value other = outer->getOperand(1 - number);
      auto it = summandOf.find(inner);
      if (it == summandOf.end() || !inner->hasOneUse() || !states[other].isUnreduced())
        continue;
      Value summand = inner->getOperand(it->second), whole = inner->getOperand(1 - it->second);
      summandOf.erase(it);
      inner->setOperands({summand, other});
      inner->moveBefore(outer);
      outer->setOperands({whole, inner->getResult(0)});
      states[summand] = Shard::unreduced();
      assignments[inner] = assign(inner);
      return;
    }
  }

  Assignment assign(Operation *op) {
    Assignment result;
    if (auto read = dyn_cast<pipe::ReadOp>(op)) {
      result.results = {shardOf(read.getParameterAttr())};
    } else if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op)) {
      result.operands = {shardOf(accumulate.getParameterAttr())};
    } else {
      SmallVector<Shard> given;
      for (Value operand : op->getOperands())
        given.push_back(states.lookup(operand));
      auto wantedOf = [this](Value value) { return wanted(value); };
      result = TensorRules{ranks, wantedOf}.assign(op, given);
    }
    for (auto [value, shard] : llvm::zip_equal(op->getResults(), result.results))
      states[value] = shard;
    // What has been summed for one reader is at hand for all that follow.
    for (auto [value, shard] : llvm::zip_equal(op->getOperands(), result.operands))
      if (states[value].isUnreduced() && shard.isWhole())
        states[value] = Shard::replicated();
    return result;
  }

  Shard shardOf(FlatSymbolRefAttr parameter) const {
    return parameters.lookup(parameter.getAttr());
  }

  Shard wanted(Value value) const {
    while (value.hasOneUse()) {
      Operation *user = *value.user_begin();
      if (auto accumulate = dyn_cast<pipe::AccumulateOp>(user))
        return shardOf(accumulate.getParameterAttr());
      if (!isElementwise(user) && !isa<nn::ScatterOp>(user))
        break;
      if (user->getResult(0).getType() != value.getType())
        break;
      value = user->getResult(0);
    }
    return Shard::replicated();
  }

  int64_t ranks;
  const ParameterShards &parameters;
  DenseMap<Value, Shard> states;
  DenseMap<Operation *, int64_t> summandOf; ///< by noteSum: the unreduced operand
};

struct DistributeTensor : distribute::impl::DistributeTensorBase<DistributeTensor> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto step = module.lookupSymbol<func::FuncOp>("micro_step");
    dist::MeshAttr mesh = dist::meshOf(module);
    int64_t ranks = mesh ? mesh.getSize(kAxis) : 1;
    if (!step || ranks == 1)
      return;
    // 1. Which rank holds what of the parameters.
    auto tokens = module->getAttrOfType<IntegerAttr>("moire.token_vocab");
    auto parameters = chooseTensorShards(step, ranks, tokens ? tokens.getInt() : 0);
    if (failed(parameters))
      return signalPassFailure();
    if (parameters->empty())
      step.emitWarning("no weight of this model can be cut over tp = ")
          << ranks << "; all ranks of that axis will compute the same";
    // 2. What follows for all values.
    Block &block = step.getBody().front();
    Propagation propagation(ranks, *parameters);
    propagation.run(block);
    // 3. Local types, and collectives where states do not meet.
    TensorLocal local(&getContext(), ranks);
    for (BlockArgument argument : block.getArguments())
      if (auto type = dyn_cast<RankedTensorType>(argument.getType()))
        local.define(argument, type, Shard::replicated());
    SmallVector<Operation *> ops;
    for (Operation &op : block)
      ops.push_back(&op);
    for (Operation *op : ops)
      local.rewrite(op, propagation.assignments[op]);
    for (auto &[name, shard] : *parameters)
      addSharding(module.lookupSymbol<pipe::ParameterOp>(name), shard);
    dropUnused(block);
  }

  /// Adds the axis to those that split the parameter already.
  void addSharding(pipe::ParameterOp parameter, const Shard &shard) {
    int64_t rank = cast<RankedTensorType>(parameter.getType()).getRank();
    auto own = dist::ShardingAttr::split(&getContext(), rank, shard.dim, kAxis,
                                         shard.blocks.size() > 1 ? ArrayRef(shard.blocks)
                                                                 : ArrayRef<int64_t>());
    dist::ShardingAttr other = parameter.getShardingAttr();
    if (other) {
      SmallVector<ArrayAttr> dims(other.getDims());
      dims[shard.dim] = own.getDims()[shard.dim];
      SmallVector<DenseI64ArrayAttr> blocks(other.getBlocks());
      if (blocks.empty())
        blocks.assign(own.getBlocks().begin(), own.getBlocks().end());
      else if (!own.getBlocks().empty())
        blocks[shard.dim] = own.getBlocks()[shard.dim];
      own = dist::ShardingAttr::get(&getContext(), dims, blocks, other.getUnreduced());
    }
    parameter.setShardingAttr(own);
  }

  /// Constants and values that only other forms of are read.
  void dropUnused(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if (isOpTriviallyDead(&op))
        op.erase();
  }
};
} // namespace
