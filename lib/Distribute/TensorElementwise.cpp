//===- TensorElementwise.cpp - Splits through elementwise mathematics ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

bool distribute::isElementwise(Operation *op) {
  return op->getNumResults() == 1 && isa<RankedTensorType>(op->getResult(0).getType()) &&
         (isa<nn::SigmoidOp>(op) || op->hasTrait<OpTrait::Elementwise>());
}

/// Whether the op is linear in its unreduced operands, so that the sum over the ranks
/// may as well be taken of its result: sums of summands, and factors that all ranks
/// have. A rounding is not.
static bool isLinear(Operation *op, Given given) {
  if (isa<arith::NegFOp, arith::ExtFOp>(op))
    return true;
  if (isa<arith::AddFOp, arith::SubFOp>(op))
    return given[0].isUnreduced() && given[1].isUnreduced();
  if (isa<arith::MulFOp>(op))
    return given[0].isWhole() || given[1].isWhole();
  if (isa<arith::DivFOp>(op))
    return given[1].isWhole();
  return false;
}

/// Rows of experts with a bias per expert, of which nothing but sums over a token's
/// experts are read: k times as many rows as afterwards.
static bool isSummedByTokens(Operation *op) {
  return llvm::any_of(op->getOperands(),
                      [](Value v) { return v.getDefiningOp<nn::PerExpertOp>(); }) &&
         llvm::all_of(op->getUses(), [](OpOperand &use) {
           return isa<nn::CombineOp, nn::CombineGradOp, dist::AllToAllRowsOp>(use.getOwner()) &&
                  use.getOperandNumber() == 0;
         });
}

bool distribute::assignElementwise(const TensorRules &, Operation *op, Given given,
                                   Assignment &out) {
  if (!isElementwise(op))
    return false;
  if (const Shard *split = firstSplit(given)) {
    out.results[0] = *split;
    for (auto [i, operand] : llvm::enumerate(op->getOperands()))
      if (isa<RankedTensorType>(operand.getType())) // a select's condition may be one bit
        out.operands[i] = *split;
    return true;
  }
  if (llvm::none_of(given, [](const Shard &s) { return s.isUnreduced(); }))
    return true;
  if (isLinear(op, given)) {
    out.operands.assign(given.begin(), given.end());
    out.results[0] = Shard::unreduced();
  } else if (isa<arith::AddFOp>(op) && isSummedByTokens(op)) {
    out.operands.assign(2, Shard::unreduced()); // one rank adds the bias
    out.results[0] = Shard::unreduced();
  }
  return true;
}
