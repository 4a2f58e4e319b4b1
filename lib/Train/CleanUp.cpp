//===- CleanUp.cpp - Simplifies what adjoints leave behind ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINCLEANUP
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {

RankedTensorType tensorType(Value v) { return cast<RankedTensorType>(v.getType()); }

bool isZero(Value v) { return matchPattern(v, m_AnyZeroFloat()); }

/// x + scatter(add, 0, i, u)  ~~>  scatter(add, x, i, u)
template <typename ScatterOpTy>
struct ScatterIntoSum : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::AddFOp op, PatternRewriter &rewriter) const override {
    for (unsigned i : {1, 0}) {
      auto scatter = op->getOperand(i).template getDefiningOp<ScatterOpTy>();
      if (!scatter || !scatter->hasOneUse() || scatter.getKind() != nn::ScatterKind::add ||
          !isZero(scatter.getBase()))
        continue;
      auto copy = cast<ScatterOpTy>(rewriter.clone(*scatter));
      copy.getBaseMutable().assign(op->getOperand(1 - i));
      rewriter.replaceOp(op, copy);
      return success();
    }
    return failure();
  }
};

/// transpose(l r)  ~~>  r^T l^T, where the last two dims are exchanged.
struct TransposedProduct : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    auto product = op.getInput().getDefiningOp<nn::MatmulOp>();
    if (!product || !product->hasOneUse() ||
        tensorType(product.getLhs()).getRank() != tensorType(product.getRhs()).getRank())
      return failure();
    int64_t rank = op.getPermutation().size();
    for (auto [i, p] : llvm::enumerate(op.getPermutation()))
      if (p != (int64_t)(i + 2 < (size_t)rank ? i : 2 * rank - 3 - i))
        return failure();
    rewriter.replaceOpWithNewOp<nn::MatmulOp>(op, op.getType(), product.getRhs(),
                                              product.getLhs(),
                                              !product.getTransposeRhs(),
                                              !product.getTransposeLhs());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Sums of zero-padded parts
//===----------------------------------------------------------------------===//

/// A zero-padded value that lies in one dim of the whole, at start,
/// start + stride, ...
struct Part {
  Value value;
  int64_t dim, start, stride, size;
};

std::optional<Part> asPart(Value v) {
  auto pad = v.getDefiningOp<nn::PadOp>();
  if (!pad || !pad->hasOneUse() || pad.getValue().convertToDouble() != 0)
    return std::nullopt;
  std::optional<int64_t> dim;
  for (int64_t i = 0; i < tensorType(v).getRank(); ++i) {
    if (!pad.getLow()[i] && !pad.getHigh()[i] && !pad.getInterior()[i])
      continue;
    if (dim)
      return std::nullopt;
    dim = i;
  }
  if (!dim)
    return std::nullopt;
  return Part{pad.getInput(), *dim, pad.getLow()[*dim], pad.getInterior()[*dim] + 1,
              tensorType(pad.getInput()).getDimSize(*dim)};
}

/// Consecutive parts, with zeros where none lies; null where they overlap.
Value concatenate(ArrayRef<Part> parts, RankedTensorType type, Location loc,
                  PatternRewriter &rewriter) {
  int64_t dim = parts.front().dim, at = 0;
  SmallVector<Value> values;
  auto fill = [&](int64_t to) {
    if (to == at)
      return;
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = to - at;
    auto filler = type.clone(shape);
    values.push_back(rewriter.create<arith::ConstantOp>(
        loc, DenseElementsAttr::get(filler, rewriter.getFloatAttr(type.getElementType(), 0))));
  };
  for (const Part &part : parts)
    if (part.stride != 1 || part.dim != dim)
      return {};
  for (size_t i = 1; i < parts.size(); ++i)
    if (parts[i].start < parts[i - 1].start + parts[i - 1].size)
      return {};
  for (const Part &part : parts) {
    fill(part.start);
    values.push_back(part.value);
    at = part.start + part.size;
  }
  fill(type.getDimSize(dim));
  return rewriter.create<nn::ConcatOp>(loc, values, dim);
}

/// n parts that alternate: part i holds positions i, i + n, i + 2n, ...
Value interleave(ArrayRef<Part> parts, RankedTensorType type, Location loc,
                 PatternRewriter &rewriter) {
  int64_t n = parts.size(), dim = parts.front().dim;
  for (auto [i, part] : llvm::enumerate(parts))
    if (part.dim != dim || part.stride != n || part.start != (int64_t)i ||
        part.size * n != type.getDimSize(dim))
      return {};
  SmallVector<Value> values;
  for (const Part &part : parts) {
    SmallVector<int64_t> shape(tensorType(part.value).getShape());
    shape.insert(shape.begin() + dim + 1, 1);
    values.push_back(rewriter.create<nn::ReshapeOp>(loc, type.clone(shape), part.value));
  }
  Value all = rewriter.create<nn::ConcatOp>(loc, values, dim + 1);
  return rewriter.create<nn::ReshapeOp>(loc, type, all);
}

/// pad(a) + pad(b) + ...  ~~>  concat(a, b, ...)
struct PaddedSum : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::AddFOp op, PatternRewriter &rewriter) const override {
    // Only at the root of a tree of additions.
    if (op->hasOneUse() && isa<arith::AddFOp>(*op->user_begin()))
      return failure();
    SmallVector<Value> leaves, stack{op.getRhs(), op.getLhs()};
    while (!stack.empty()) {
      Value v = stack.pop_back_val();
      auto sum = v.getDefiningOp<arith::AddFOp>();
      if (sum && sum->hasOneUse())
        stack.append({sum.getRhs(), sum.getLhs()});
      else
        leaves.push_back(v);
    }
    SmallVector<Part> parts;
    SmallVector<Value> others;
    for (Value leaf : leaves) {
      if (auto part = asPart(leaf))
        parts.push_back(*part);
      else
        others.push_back(leaf);
    }
    if (parts.size() < 2)
      return failure();
    llvm::stable_sort(parts, [](const Part &a, const Part &b) { return a.start < b.start; });
    auto type = cast<RankedTensorType>(op.getType());
    Value sum = concatenate(parts, type, op.getLoc(), rewriter);
    if (!sum)
      sum = interleave(parts, type, op.getLoc(), rewriter);
    if (!sum)
      return failure();
    for (Value other : others)
      sum = rewriter.create<arith::AddFOp>(op.getLoc(), sum, other);
    rewriter.replaceOp(op, sum);
    return success();
  }
};

struct TrainCleanUp : train::impl::TrainCleanUpBase<TrainCleanUp> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ScatterIntoSum<nn::ScatterOp>, ScatterIntoSum<nn::ScatterElementsOp>,
                 TransposedProduct, PaddedSum>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
