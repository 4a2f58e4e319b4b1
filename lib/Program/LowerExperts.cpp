//===- LowerExperts.cpp - Routing and grouped products -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "dialects/nn/NNBalance.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

void Lowering::lowerGrouped(nn::GroupedMatmulOp op, Value bias, Value result) {
  Statement<exec::GroupedGemmOp>{builder,
                                 loc,
                                 dense(op.getRows()),
                                 dense(op.getWeight()),
                                 routing(op.getRouting()),
                                 dense(bias),
                                 denseOut(result),
                                 Value(),
                                 op.getTransposeWeight(),
                                 op.getGatherRows()};
}

LogicalResult Lowering::lowerExperts(Operation *op) {
  if (auto it = folds.expertBias.find(op); it != folds.expertBias.end()) {
    nn::PerExpertOp bias = it->second.perExpert;
    if (it->second.product)
      return lowerGrouped(it->second.product, bias.getValues(), op->getResult(0)), success();
    Statement<exec::PerExpertOp>{builder,
                                 loc,
                                 dense(bias.getValues()),
                                 dense(it->second.rows),
                                 routing(bias.getRouting()),
                                 denseOut(op->getResult(0))};
    return success();
  }
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](nn::RouterOp op) {
        Statement<exec::RouterOp>{builder,
                                  loc,
                                  dense(op.getLogits()),
                                  dense(op.getSelectionBias()),
                                  denseOut(op.getWeights()),
                                  denseOut(op.getIds()),
                                  op.getScoringAttr(),
                                  op.getNormalizeAttr(),
                                  op.getEpsilonAttr(),
                                  op.getScaleAttr()};
      })
      .Case([&](nn::RouterGradOp op) {
        Statement<exec::RouterGradOp>{builder,
                                      loc,
                                      dense(op.getLogits()),
                                      dense(op.getIds()),
                                      dense(op.getCotangent()),
                                      denseOut(op.getDLogits()),
                                      op.getScoringAttr(),
                                      op.getNormalizeAttr(),
                                      op.getEpsilonAttr(),
                                      op.getScaleAttr()};
      })
      .Case([&](nn::RouteOp op) {
        Statement<exec::RouteOp>{builder, loc, dense(op.getIds()), routing(op.getRouting())};
      })
      .Case([&](nn::ChoiceCountsOp op) {
        Statement<exec::ChoiceCountsOp>{builder, loc, dense(op.getIds()), denseOut(op.getCounts())};
      })
      .Case([&](nn::CapacityOp op) {
        Statement<exec::CapacityOp>{builder,
                                    loc,
                                    dense(op.getIds()),
                                    dense(op.getCounts()),
                                    dense(op.getShard()),
                                    denseOut(op.getKept()),
                                    builder.getI64IntegerAttr(op.getSlots()),
                                    op.getChoicesFirstAttr()};
      })
      .Case([&](nn::DispatchOp op) {
        Statement<exec::DispatchOp>{builder, loc, dense(op.getInput()), routing(op.getRouting()),
                                    denseOut(op.getRows())};
      })
      .Case([&](nn::CombineOp op) {
        Statement<exec::CombineOp>{builder,
                                   loc,
                                   dense(op.getRows()),
                                   dense(op.getWeights()),
                                   routing(op.getRouting()),
                                   denseOut(op.getResult())};
      })
      .Case([&](nn::CombineGradOp op) {
        Value dRows = optionalOut(op.getDRows()), dWeights = optionalOut(op.getDWeights());
        if (dRows || dWeights)
          Statement<exec::CombineGradOp>{builder,
                                         loc,
                                         dense(op.getRows()),
                                         dense(op.getWeights()),
                                         dense(op.getCotangent()),
                                         routing(op.getRouting()),
                                         dRows,
                                         dWeights};
      })
      .Case([&](nn::GroupedMatmulOp op) { lowerGrouped(op, {}, op.getResult()); })
      .Case([&](nn::GroupedMatmulGradWeightOp op) {
        Value lhs = dense(op.getLhs()), rhs = dense(op.getRhs()), result = op.getResult();
        Layout swapped = layout(result).transpose({0, 2, 1});
        if (!layout(result).isDense() && swapped.isDense()) {
          // The gradient is stored as [E, N, K]: the product of the other side.
          Statement<exec::GroupedGemmGradWeightOp>{builder,
                                                   loc,
                                                   rhs,
                                                   lhs,
                                                   routing(op.getRouting()),
                                                   place(result, swapped),
                                                   mode(result),
                                                   op.getGatherRhs(),
                                                   op.getGatherLhs()};
          return;
        }
        Value out = denseOut(result);
        builder.create<exec::GroupedGemmGradWeightOp>(loc, lhs, rhs, routing(op.getRouting()), out,
                                                      modeOf(out, result), op.getGatherLhs(),
                                                      op.getGatherRhs());
      })
      .Case([&](nn::PerExpertOp op) {
        Statement<exec::PerExpertOp>{builder,
                                     loc,
                                     dense(op.getValues()),
                                     Value(),
                                     routing(op.getRouting()),
                                     denseOut(op.getResult())};
      })
      .Case([&](nn::PerExpertSumOp op) {
        Value out = denseOut(op.getResult());
        Statement<exec::PerExpertSumOp>{builder,
                                        loc,
                                        dense(op.getRows()),
                                        routing(op.getRouting()),
                                        out,
                                        modeOf(out, op.getResult())};
      });
  return success();
}
