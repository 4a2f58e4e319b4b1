//===- TensorRules.cpp - From an op to the rule of its family ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

Assignment TensorRules::assign(Operation *op, Given given) const {
  Assignment out;
  auto reset = [&] {
    out.operands.assign(op->getNumOperands(), Shard::replicated());
    out.results.assign(op->getNumResults(), Shard::replicated());
  };
  reset();
  if (op->hasTrait<OpTrait::ConstantLike>()) {
    DenseElementsAttr elements;
    if (matchPattern(op, m_Constant(&elements)) && elements.isSplat())
      out.results[0] = Shard::constant();
    return out;
  }
  assignElementwise(*this, op, given, out) || assignMovement(*this, op, given, out) ||
      assignProducts(*this, op, given, out) || assignLayers(*this, op, given, out) ||
      assignExperts(*this, op, given, out) || assignVocabulary(*this, op, given, out);
  // A rule looks at what its operands have, not at whether another operand or a result
  // can be cut that way; where one cannot, nothing is split.
  auto cut = [&](auto values, ArrayRef<Shard> shards) {
    return llvm::all_of(llvm::zip_equal(values, shards), [&](auto pair) {
      return fits(std::get<1>(pair), std::get<0>(pair).getType(), ranks);
    });
  };
  if (!cut(op->getOperands(), out.operands) || !cut(op->getResults(), out.results))
    reset();
  return out;
}

bool distribute::wants(OpResult result, const Shard &shard, int64_t ranks, Wishes &wishes) {
  Operation *op = result.getOwner();
  if (isElementwise(op)) {
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType()))
        wishes.push_back({operand, shard});
    return true;
  }
  if (auto answer = movementWants(result, shard, ranks, wishes))
    return *answer;
  if (auto answer = productWants(result, shard, wishes))
    return *answer;
  if (auto answer = layerWants(result, shard, wishes))
    return *answer;
  if (auto answer = expertWants(result, shard, wishes))
    return *answer;
  return vocabularyWants(result, shard, wishes).value_or(false);
}
