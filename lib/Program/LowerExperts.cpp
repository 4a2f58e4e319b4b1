//===- LowerExperts.cpp - Routing and grouped products -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

LogicalResult Lowering::lowerExperts(Operation *op) {
  if (auto it = folds.expertBias.find(op); it != folds.expertBias.end()) {
    nn::PerExpertOp bias = it->second.perExpert;
    builder.create<exec::PerExpertOp>(loc, dense(bias.getValues()), dense(it->second.rows),
                                      routing(bias.getRouting()), denseOut(op->getResult(0)));
    return success();
  }
  TypeSwitch<Operation *>(op)
      .Case([&](nn::RouterOp op) {
        builder.create<exec::RouterOp>(
            loc, dense(op.getLogits()), dense(op.getSelectionBias()), denseOut(op.getWeights()),
            denseOut(op.getIds()), op.getScoringAttr(), op.getNormalizeAttr(),
            op.getEpsilonAttr(), op.getScaleAttr());
      })
      .Case([&](nn::RouterGradOp op) {
        builder.create<exec::RouterGradOp>(
            loc, dense(op.getLogits()), dense(op.getIds()), dense(op.getCotangent()),
            denseOut(op.getDLogits()), op.getScoringAttr(), op.getNormalizeAttr(),
            op.getEpsilonAttr(), op.getScaleAttr());
      })
      .Case([&](nn::RouteOp op) {
        builder.create<exec::RouteOp>(loc, dense(op.getIds()), routing(op.getRouting()));
      })
      .Case([&](nn::DispatchOp op) {
        builder.create<exec::DispatchOp>(loc, dense(op.getInput()), routing(op.getRouting()),
                                         denseOut(op.getRows()));
      })
      .Case([&](nn::CombineOp op) {
        builder.create<exec::CombineOp>(loc, dense(op.getRows()), dense(op.getWeights()),
                                        routing(op.getRouting()), denseOut(op.getResult()));
      })
      .Case([&](nn::CombineGradOp op) {
        Value dRows = optionalOut(op.getDRows()), dWeights = optionalOut(op.getDWeights());
        if (dRows || dWeights)
          builder.create<exec::CombineGradOp>(loc, dense(op.getRows()), dense(op.getWeights()),
                                              dense(op.getCotangent()),
                                              routing(op.getRouting()), dRows, dWeights);
      })
      .Case([&](nn::GroupedMatmulOp op) {
        builder.create<exec::GroupedGemmOp>(loc, dense(op.getRows()), dense(op.getWeight()),
                                            routing(op.getRouting()), denseOut(op.getResult()),
                                            op.getTransposeWeight());
      })
      .Case([&](nn::GroupedMatmulGradWeightOp op) {
        Value lhs = dense(op.getLhs()), rhs = dense(op.getRhs()), result = op.getResult();
        Layout swapped = layout(result).transpose({0, 2, 1});
        if (!layout(result).isDense() && swapped.isDense()) {
          // The gradient is stored as [E, N, K]: the product of the other side.
          builder.create<exec::GroupedGemmGradWeightOp>(loc, rhs, lhs, routing(op.getRouting()),
                                                        place(result, swapped), mode(result));
          return;
        }
        Value out = denseOut(result);
        builder.create<exec::GroupedGemmGradWeightOp>(loc, lhs, rhs, routing(op.getRouting()), out,
                                                      modeOf(out, result));
      })
      .Case([&](nn::PerExpertOp op) {
        builder.create<exec::PerExpertOp>(loc, dense(op.getValues()), Value(),
                                          routing(op.getRouting()), denseOut(op.getResult()));
      })
      .Case([&](nn::PerExpertSumOp op) {
        Value out = denseOut(op.getResult());
        builder.create<exec::PerExpertSumOp>(loc, dense(op.getRows()), routing(op.getRouting()),
                                             out, modeOf(out, op.getResult()));
      });
  return success();
}
