//===- NNFolds.cpp - Folders and canonical forms of the nn ops -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace moire::nn;

/// A splat constant stays a splat under every pure rearrangement.
static OpFoldResult foldSplat(Attribute operand, Type type) {
  if (auto splat = llvm::dyn_cast_if_present<SplatElementsAttr>(operand))
    return splat.resizeSplat(cast<ShapedType>(type));
  return {};
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (auto dense = llvm::dyn_cast_if_present<DenseElementsAttr>(adaptor.getInput()))
    return dense.isSplat() ? OpFoldResult(dense.resizeSplat(getType()))
                           : OpFoldResult(dense.reshape(getType()));
  return {};
}

LogicalResult ReshapeOp::canonicalize(ReshapeOp op, PatternRewriter &rewriter) {
  auto inner = op.getInput().getDefiningOp<ReshapeOp>();
  if (!inner)
    return failure();
  rewriter.replaceOpWithNewOp<ReshapeOp>(op, op.getType(), inner.getInput());
  return success();
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  bool identity = true;
  for (auto [i, p] : llvm::enumerate(getPermutation()))
    identity &= (int64_t)i == p;
  if (identity)
    return getInput();
  return foldSplat(adaptor.getInput(), getType());
}

LogicalResult TransposeOp::canonicalize(TransposeOp op, PatternRewriter &rewriter) {
  auto inner = op.getInput().getDefiningOp<TransposeOp>();
  if (!inner)
    return failure();
  SmallVector<int64_t> perm;
  for (int64_t p : op.getPermutation())
    perm.push_back(inner.getPermutation()[p]);
  rewriter.replaceOpWithNewOp<TransposeOp>(op, inner.getInput(), perm);
  return success();
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  return foldSplat(adaptor.getInput(), getType());
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  if (getInput().getType() == getType())
    return getInput();
  return foldSplat(adaptor.getInput(), getType());
}

OpFoldResult ReduceOp::fold(FoldAdaptor adaptor) {
  if (getDims().empty())
    return getInput();
  return {};
}

LogicalResult MatmulOp::canonicalize(MatmulOp op, PatternRewriter &rewriter) {
  // A transposition of the last two dims costs nothing inside a product.
  auto absorbed = [](Value v) -> Value {
    auto t = v.getDefiningOp<TransposeOp>();
    if (!t)
      return {};
    auto perm = t.getPermutation();
    int64_t rank = perm.size();
    for (int64_t i = 0; i < rank - 2; ++i)
      if (perm[i] != i)
        return {};
    return perm[rank - 2] == rank - 1 ? t.getInput() : Value();
  };
  Value lhs = absorbed(op.getLhs()), rhs = absorbed(op.getRhs());
  // A rank-2 weight for a batched lhs leaves no room for transpose_lhs.
  if (lhs && op.getLhs().getType() != op.getRhs().getType() &&
      cast<RankedTensorType>(op.getRhs().getType()).getRank() == 2 &&
      cast<RankedTensorType>(op.getLhs().getType()).getRank() > 2)
    lhs = {};
  if (!lhs && !rhs)
    return failure();
  rewriter.replaceOpWithNewOp<MatmulOp>(
      op, op.getType(), lhs ? lhs : op.getLhs(), rhs ? rhs : op.getRhs(),
      /*transpose_lhs=*/op.getTransposeLhs() != (bool)lhs,
      /*transpose_rhs=*/op.getTransposeRhs() != (bool)rhs);
  return success();
}

LogicalResult RouterOp::canonicalize(RouterOp op, PatternRewriter &rewriter) {
  // softmax over all, divided by the chosen ones' sum, is the softmax over the
  // chosen ones. Its adjoint has no cancellation: AdamW turned the rounding of
  // the other form, in experts that no token chose, into whole steps.
  if (op.getScoring() != Scoring::softmax || !op.getNormalize() || op.getSelectionBias() ||
      !op.getEpsilon().isZero())
    return failure();
  rewriter.replaceOpWithNewOp<RouterOp>(op, op.getLogits(), Value(), op.getK(),
                                        Scoring::softmax_selected, /*normalize=*/false,
                                        op.getEpsilon(), op.getScale());
  return success();
}
