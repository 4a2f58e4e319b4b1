//===- LowerOps.cpp - Movement, products, rows and attention -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// Writes lhs * rhs to the place of `result`, which is the product itself or the
/// sum that it was folded into.
LogicalResult Lowering::lowerMatmul(nn::MatmulOp op, Value bias, Value result, exec::Mode writes) {
  Value lhs = op.getLhs(), rhs = op.getRhs();
  auto plan = planGemm(op, layout(lhs), layout(rhs), layout(result));
  Value a, b, c;
  if (plan && !(plan->swapped && bias)) {
    a = place(lhs, plan->swapped ? plan->b : plan->a);
    b = place(rhs, plan->swapped ? plan->a : plan->b);
    c = place(result, plan->c);
  } else {
    auto denseLayout = [](Value v) { return Layout::dense(shapeOf(v)); };
    plan = planGemm(op, denseLayout(lhs), denseLayout(rhs), denseLayout(result));
    if (!plan)
      return op.emitError("of these shapes is no matrix product on memory");
    a = view(dense(lhs), plan->a);
    b = view(dense(rhs), plan->b);
    Value out = denseOut(result);
    if (out != place(result))
      writes = exec::Mode::overwrite;
    c = view(out, plan->c);
  }
  if (plan->swapped)
    std::swap(a, b);
  builder.create<exec::GemmOp>(loc, a, b, dense(bias), c, writes);
  return success();
}

LogicalResult Lowering::lowerProductSum(Operation *add, const Folds::ProductSum &sum) {
  Value result = add->getResult(0);
  const Place &from = placement.of(sum.other), &to = placement.of(result);
  if (placement.memory(from.root) != placement.memory(to.root))
    Statement<exec::CopyOp>{builder, loc, place(sum.other), place(result), exec::Mode::overwrite};
  return lowerMatmul(sum.matmul, {}, result, exec::Mode::add);
}

//===----------------------------------------------------------------------===//
// Data movement and reductions
//===----------------------------------------------------------------------===//

Value Lowering::scatterTarget(Value base, Value result) {
  Value out = denseOut(result);
  const Place &from = placement.of(base), &to = placement.of(result);
  if (placement.memory(from.root) == placement.memory(to.root) && from.layout == to.layout &&
      out == place(result))
    return out; // the base is there
  if (TypedAttr splat = splatValue(base))
    builder.create<exec::FillOp>(loc, out, splat, exec::Mode::overwrite);
  else
    copy(place(base), out);
  return out;
}

LogicalResult Lowering::lowerMovement(Operation *op) {
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](nn::ConcatOp op) {
        const Place &whole = placement.of(op.getResult());
        for (auto [i, input] : llvm::enumerate(op.getInputs())) {
          Layout part = partOf(op, i, whole.layout);
          const Place &from = placement.of(input);
          if (from.root != whole.root || !(from.layout == part))
            Statement<exec::CopyOp>{builder, loc, place(input), place(op.getResult(), part),
                                    whole.mode};
        }
        return success();
      })
      .Case([&](nn::PadOp op) {
        Value out = denseOut(op.getResult());
        Type element = elementOf(op.getResult());
        TypedAttr value;
        if (isa<FloatType>(element))
          value = builder.getFloatAttr(element, op.getValue().convertToDouble());
        else
          value = builder.getIntegerAttr(element, (int64_t)op.getValue().convertToDouble());
        builder.create<exec::FillOp>(loc, out, value, exec::Mode::overwrite);
        Layout inner = Layout::dense(shapeOf(op.getResult()));
        for (size_t d = 0; d < inner.shape.size(); ++d) {
          inner.offset += op.getLow()[d] * inner.strides[d];
          inner.strides[d] *= op.getInterior()[d] + 1;
          inner.shape[d] = shapeOf(op.getInput())[d];
        }
        if (inner.numElements() > 0)
          Statement<exec::CopyOp>{builder, loc, place(op.getInput()), view(out, inner),
                                  exec::Mode::overwrite};
        return success();
      })
      .Case([&](nn::GatherOp op) {
        Statement<exec::GatherOp>{builder, loc, dense(op.getTable()), dense(op.getIndices()),
                                  denseOut(op.getResult())};
        return success();
      })
      .Case([&](nn::ScatterOp op) -> LogicalResult {
        Value updates = dense(op.getUpdates()), indices = dense(op.getIndices());
        if (op.getKind() == nn::ScatterKind::set) {
          Value out = scatterTarget(op.getBase(), op.getResult());
          builder.create<exec::ScatterOp>(loc, updates, indices, out);
          return success();
        }
        if (!elementOf(op.getResult()).isF32())
          return op.emitError("can add f32 only, not ") << elementOf(op.getResult());
        if (canAccumulate(op.getResult())) { // into zeros
          Value out = denseOut(op.getResult());
          builder.create<exec::ScatterAddOp>(loc, updates, indices, out,
                                             modeOf(out, op.getResult()));
        } else {
          Value out = scatterTarget(op.getBase(), op.getResult());
          builder.create<exec::ScatterAddOp>(loc, updates, indices, out, exec::Mode::add);
        }
        return success();
      })
      .Case([&](nn::GatherElementsOp op) {
        Statement<exec::GatherElementsOp>{builder,
                                          loc,
                                          dense(op.getInput()),
                                          dense(op.getIndices()),
                                          denseOut(op.getResult()),
                                          op.getAxis()};
        return success();
      })
      .Case([&](nn::ScatterElementsOp op) {
        Value updates = dense(op.getUpdates()), indices = dense(op.getIndices());
        Value out = scatterTarget(op.getBase(), op.getResult());
        builder.create<exec::ScatterElementsOp>(loc, updates, indices, out, op.getAxis(),
                                                op.getKind() == nn::ScatterKind::add);
        return success();
      })
      .Case([&](nn::ReduceOp op) {
        Value input = dense(op.getInput()), out = denseOut(op.getResult());
        builder.create<exec::ReduceOp>(loc, input, out, op.getKindAttr(), op.getDims(),
                                       modeOf(out, op.getResult()));
        return success();
      })
      .Case([&](nn::TopKOp op) {
        Statement<exec::TopKOp>{builder,
                                loc,
                                dense(op.getInput()),
                                denseOut(op.getValues()),
                                denseOut(op.getIndices()),
                                op.getSmallest()};
        return success();
      })
      .Case([&](nn::CumsumOp op) {
        Statement<exec::CumsumOp>{builder,
                                  loc,
                                  dense(op.getInput()),
                                  denseOut(op.getResult()),
                                  op.getAxis(),
                                  op.getExclusive(),
                                  op.getReverse()};
        return success();
      });
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

LogicalResult Lowering::lowerRows(Operation *op) {
  // What a normalization reads: its input, or the two parts of a folded sum.
  Value input, residual, sum;
  if (isa<nn::LayerNormOp, nn::RMSNormOp>(op)) {
    if (arith::AddFOp add = folds.residual.lookup(op)) {
      input = dense(add.getLhs());
      residual = dense(add.getRhs());
      sum = denseOut(add.getResult());
    } else {
      input = dense(op->getOperand(0));
    }
  }
  // Where a normalization's input cotangent goes, and what is added to it.
  Value add, dInput;
  if (isa<nn::LayerNormGradOp, nn::RMSNormGradOp>(op)) {
    if (auto it = folds.gradResidual.find(op); it != folds.gradResidual.end()) {
      add = dense(it->second.other);
      dInput = denseOut(arith::AddFOp(it->second.add).getResult());
    } else {
      dInput = optionalOut(op->getResult(0));
    }
  }
  TypeSwitch<Operation *>(op)
      .Case([&](nn::LayerNormOp op) {
        Statement<exec::LayerNormOp>{builder,
                                     loc,
                                     input,
                                     dense(op.getScale()),
                                     dense(op.getBias()),
                                     residual,
                                     denseOut(op.getResult()),
                                     sum,
                                     op.getEpsilonAttr()};
      })
      .Case([&](nn::RMSNormOp op) {
        Statement<exec::RMSNormOp>{builder,  loc,
                                   input,    dense(op.getScale()),
                                   residual, denseOut(op.getResult()),
                                   sum,      op.getEpsilonAttr()};
      })
      .Case([&](nn::LayerNormGradOp op) {
        Value dScale = optionalOut(op.getDScale()), dBias = optionalOut(op.getDBias());
        if (!dInput && !dScale && !dBias)
          return;
        Statement<exec::LayerNormGradOp>{builder,
                                         loc,
                                         dense(op.getInput()),
                                         dense(op.getScale()),
                                         dense(op.getCotangent()),
                                         add,
                                         dInput,
                                         dScale,
                                         dBias,
                                         op.getEpsilon(),
                                         modeOf(dScale, op.getDScale()),
                                         modeOf(dBias, op.getDBias())};
      })
      .Case([&](nn::RMSNormGradOp op) {
        Value dScale = optionalOut(op.getDScale());
        if (!dInput && !dScale)
          return;
        Statement<exec::RMSNormGradOp>{builder,
                                       loc,
                                       dense(op.getInput()),
                                       dense(op.getScale()),
                                       dense(op.getCotangent()),
                                       add,
                                       dInput,
                                       dScale,
                                       op.getEpsilon(),
                                       modeOf(dScale, op.getDScale())};
      })
      .Case([&](nn::SoftmaxOp op) {
        Statement<exec::SoftmaxOp>{builder, loc, dense(op.getInput()), denseOut(op.getResult())};
      })
      .Case([&](nn::SoftmaxGradOp op) {
        Statement<exec::SoftmaxGradOp>{builder, loc, dense(op.getOutput()),
                                       dense(op.getCotangent()), denseOut(op.getResult())};
      })
      .Case([&](nn::CrossEntropyOp op) {
        Value cotangent, dLogits;
        if (auto it = folds.loss.find(op); it != folds.loss.end()) {
          cotangent = dense(it->second.cotangent);
          dLogits = denseOut(nn::CrossEntropyGradOp(it->second.grad).getResult());
        }
        Statement<exec::CrossEntropyOp>{builder,
                                        loc,
                                        dense(op.getLogits()),
                                        dense(op.getLabels()),
                                        cotangent,
                                        denseOut(op.getLosses()),
                                        denseOut(op.getLse()),
                                        dLogits,
                                        op.getIgnoreIndex()};
      })
      .Case([&](nn::CrossEntropyGradOp op) {
        Statement<exec::CrossEntropyGradOp>{builder,
                                            loc,
                                            dense(op.getLogits()),
                                            dense(op.getLabels()),
                                            dense(op.getLse()),
                                            place(op.getCotangent()),
                                            denseOut(op.getResult()),
                                            op.getIgnoreIndex()};
      });
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Value Lowering::mask(Value mask, Value query, Value key) {
  if (!mask)
    return {};
  Layout window = layout(mask);
  int64_t full[] = {shapeOf(query)[0], shapeOf(query)[1], shapeOf(query)[2], shapeOf(key)[2]};
  for (int d = 0; d < 4; ++d)
    if (window.shape[d] != full[d]) {
      window.shape[d] = full[d];
      window.strides[d] = 0;
    }
  return place(mask, window);
}

LogicalResult Lowering::lowerAttention(Operation *op) {
  TypeSwitch<Operation *>(op)
      .Case([&](nn::RopeOp op) {
        Statement<exec::RopeOp>{builder,
                                loc,
                                contiguousRows(op.getInput()),
                                dense(op.getCos()),
                                dense(op.getSin()),
                                contiguousRowsOut(op.getResult()),
                                op.getInterleaved(),
                                op.getInverse()};
      })
      .Case([&](nn::AttentionOp op) {
        Statement<exec::AttentionOp>{builder,
                                     loc,
                                     contiguousRows(op.getQuery()),
                                     contiguousRows(op.getKey()),
                                     contiguousRows(op.getValue()),
                                     mask(op.getMask(), op.getQuery(), op.getKey()),
                                     contiguousRowsOut(op.getResult()),
                                     denseOut(op.getLse()),
                                     op.getScale(),
                                     op.getCausal()};
      })
      .Case([&](nn::AttentionGradOp op) {
        Statement<exec::AttentionGradOp>{builder,
                                         loc,
                                         contiguousRows(op.getQuery()),
                                         contiguousRows(op.getKey()),
                                         contiguousRows(op.getValue()),
                                         mask(op.getMask(), op.getQuery(), op.getKey()),
                                         contiguousRows(op.getOutput()),
                                         dense(op.getLse()),
                                         contiguousRows(op.getCotangent()),
                                         contiguousRowsOut(op.getDQuery()),
                                         contiguousRowsOut(op.getDKey()),
                                         contiguousRowsOut(op.getDValue()),
                                         op.getScale(),
                                         op.getCausal()};
      });
  return success();
}
