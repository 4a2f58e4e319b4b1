//===- Casts.cpp - Casts to where they cost least ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     1. move     roundings up and widenings down over ops that only move
//                 elements, until they meet or reach a parameter or a kernel
//     2. merge    equal ones
//     3. absorb   into kernels that can store, or read, the narrow type
//
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINCASTS
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {

RankedTensorType typeOf(Value v) { return cast<RankedTensorType>(v.getType()); }
Type elementOf(Value v) { return typeOf(v).getElementType(); }

/// A copy of a movement op on other operands, with their element type.
Value moved(OpBuilder &builder, Operation *op, ValueRange tensors) {
  IRMapping map;
  for (auto [old, value] : llvm::zip(op->getOperands(), tensors))
    map.map(old, value);
  Operation *copy = builder.clone(*op, map);
  copy->getResult(0).setType(typeOf(op->getResult(0)).clone(elementOf(tensors[0])));
  return copy->getResult(0);
}

/// Whether a rounding of the whole operand is made anyway, or costs nothing.
bool isRoundedWhole(Value v) {
  Operation *def = v.getDefiningOp();
  while (isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::ReverseOp>(def))
    def = def->getOperand(0).getDefiningOp();
  return isa_and_nonnull<arith::ExtFOp, pipe::ReadOp>(def);
}

/// truncf(move(x))  ~~>  move(truncf(x)), and truncf(extf(x))  ~~>  x
struct RoundEarlier : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    if (!isa<RankedTensorType>(op.getType()))
      return failure();
    Operation *def = op.getIn().getDefiningOp();
    Type narrow = elementOf(op.getResult());
    if (auto widening = dyn_cast_or_null<arith::ExtFOp>(def)) {
      if (widening.getIn().getType() != op.getType())
        return failure();
      rewriter.replaceOp(op, widening.getIn());
      return success();
    }
    size_t tensors = 1;
    if (isa_and_nonnull<nn::ConcatOp>(def)) {
      if (!def->hasOneUse())
        return failure();
      tensors = def->getNumOperands();
    } else if (isa_and_nonnull<nn::SliceOp>(def)) {
      if (!isRoundedWhole(def->getOperand(0)))
        return failure();
    } else if (isa_and_nonnull<nn::PadOp>(def)) {
      if (!def->hasOneUse())
        return failure();
    } else if (!isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp, nn::ReverseOp, nn::BroadcastOp,
                                nn::DispatchOp>(def)) {
      return failure();
    }
    SmallVector<Value> rounded;
    for (Value operand : def->getOperands().take_front(tensors))
      rounded.push_back(nn::castElements(rewriter, op.getLoc(), operand, narrow));
    rewriter.replaceOp(op, moved(rewriter, def, rounded));
    return success();
  }
};

/// move(extf(x))  ~~>  extf(move(x)): kernels widen what they read.
template <typename MoveOp> struct WidenLater : OpRewritePattern<MoveOp> {
  using OpRewritePattern<MoveOp>::OpRewritePattern;
  LogicalResult matchAndRewrite(MoveOp op, PatternRewriter &rewriter) const override {
    auto widening = op->getOperand(0).template getDefiningOp<arith::ExtFOp>();
    if (!widening)
      return failure();
    Value result = moved(rewriter, op, widening.getIn());
    rewriter.replaceOpWithNewOp<arith::ExtFOp>(op, op->getResult(0).getType(), result);
    return success();
  }
};

/// concat(extf(x), extf(y), ...)  ~~>  extf(concat(x, y, ...))
struct WidenJoined : OpRewritePattern<nn::ConcatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ConcatOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> narrow;
    for (Value input : op.getInputs()) {
      auto widening = input.getDefiningOp<arith::ExtFOp>();
      if (!widening || (!narrow.empty() && elementOf(widening.getIn()) != elementOf(narrow[0])))
        return failure();
      narrow.push_back(widening.getIn());
    }
    Value result = moved(rewriter, op, narrow);
    rewriter.replaceOpWithNewOp<arith::ExtFOp>(op, op.getType(), result);
    return success();
  }
};

/// The one reader of a value, if it rounds it to bf16.
arith::TruncFOp onlyRounded(Value value) {
  auto rounding = value.hasOneUse() ? dyn_cast<arith::TruncFOp>(*value.user_begin()) : nullptr;
  return rounding && elementOf(rounding.getResult()).isBF16() ? rounding : nullptr;
}
/// What was widened from bf16 to give the value, else null.
Value beforeWidening(Value value) {
  auto widening = value.getDefiningOp<arith::ExtFOp>();
  return widening && elementOf(widening.getIn()).isBF16() ? widening.getIn() : Value();
}

/// A bias's gradient: the sum over rows of an elementwise result that is rounded
/// for a product anyway. It takes the rounded one, so that only that is stored.
void sumRounded(nn::ReduceOp op) {
  SmallVector<nn::ReshapeOp> views;
  Value source = op.getInput();
  while (auto reshape = source.getDefiningOp<nn::ReshapeOp>()) {
    if (!reshape->hasOneUse())
      return;
    views.push_back(reshape);
    source = reshape.getInput();
  }
  Operation *producer = source.getDefiningOp();
  if (!producer || !isa<arith::ArithDialect, math::MathDialect>(producer->getDialect()) ||
      isa<arith::ExtFOp>(producer))
    return;
  arith::TruncFOp rounding;
  Operation *other = views.empty() ? op.getOperation() : views.back().getOperation();
  for (Operation *user : source.getUsers()) {
    if (user == other)
      continue;
    if (rounding || !isa<arith::TruncFOp>(user))
      return;
    rounding = cast<arith::TruncFOp>(user);
  }
  if (!rounding || !elementOf(rounding.getResult()).isBF16())
    return;
  OpBuilder builder(op);
  if (op->isBeforeInBlock(rounding))
    rounding->moveAfter(producer);
  Value input = rounding.getResult();
  for (nn::ReshapeOp view : llvm::reverse(views))
    input = builder.create<nn::ReshapeOp>(
        view.getLoc(), view.getType().clone(elementOf(input)), input);
  op.getInputMutable().assign(input);
  for (nn::ReshapeOp view : views)
    view.erase();
}

void storeRounded(Value value, arith::TruncFOp rounding) {
  value.setType(rounding.getType());
  rounding.replaceAllUsesWith(value);
  rounding.erase();
}

/// A normalization's gradient on bf16 where all of it can be.
template <typename GradOp> void narrowGrad(GradOp op) {
  Value cotangent = beforeWidening(op.getCotangent());
  if (!cotangent)
    return;
  op.getCotangentMutable().assign(cotangent);
  Value input = beforeWidening(op.getInput());
  arith::TruncFOp rounding = onlyRounded(op.getDInput());
  if (!input || !rounding)
    return;
  op.getInputMutable().assign(input);
  storeRounded(op.getDInput(), rounding);
}

struct TrainCasts : train::impl::TrainCastsBase<TrainCasts> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isDeclaration())
      return;
    // 1.
    RewritePatternSet patterns(&getContext());
    patterns.add<RoundEarlier, WidenLater<nn::ReshapeOp>, WidenLater<nn::TransposeOp>,
                 WidenLater<nn::SliceOp>, WidenLater<nn::ReverseOp>, WidenJoined>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(func, std::move(patterns))))
      return signalPassFailure();
    // 2.
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance(func);
    eliminateCommonSubExpressions(rewriter, dominance, func);
    // 3.
    SmallVector<Operation *> kernels; // absorbing erases casts and views only
    for (Operation &op : func.getBody().front())
      if (isa<nn::MatmulOp, nn::GroupedMatmulOp, nn::LayerNormOp, nn::RMSNormOp,
              nn::LayerNormGradOp, nn::RMSNormGradOp, nn::ReduceOp>(op))
        kernels.push_back(&op);
    for (Operation *op : kernels)
      absorb(op);
    func.walk([](arith::ExtFOp op) {
      if (op->use_empty())
        op->erase();
    });
  }

  void absorb(Operation *op) {
    if (isa<nn::MatmulOp, nn::GroupedMatmulOp>(op) && elementOf(op->getOperand(0)).isBF16()) {
      if (arith::TruncFOp rounding = onlyRounded(op->getResult(0)))
        storeRounded(op->getResult(0), rounding);
    } else if (isa<nn::LayerNormOp, nn::RMSNormOp>(op)) {
      arith::TruncFOp rounding = onlyRounded(op->getResult(0));
      if (!rounding || !elementOf(op->getResult(0)).isF32())
        return;
      storeRounded(op->getResult(0), rounding);
      if (Value input = beforeWidening(op->getOperand(0)))
        op->setOperand(0, input);
    } else if (auto grad = dyn_cast<nn::LayerNormGradOp>(op)) {
      narrowGrad(grad);
    } else if (auto grad = dyn_cast<nn::RMSNormGradOp>(op)) {
      narrowGrad(grad);
    } else if (auto reduce = dyn_cast<nn::ReduceOp>(op)) {
      if (Value input = beforeWidening(reduce.getInput());
          input && reduce.getKind() == nn::ReduceKind::sum)
        reduce.getInputMutable().assign(input);
      else if (reduce.getKind() == nn::ReduceKind::sum && elementOf(reduce.getInput()).isF32())
        sumRounded(reduce);
    }
  }
};
} // namespace
