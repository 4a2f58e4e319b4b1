//===- LowerCollectives.cpp - Ops of the dist dialect --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

LogicalResult Lowering::lowerCollective(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](dist::AllReduceOp op) {
        Statement<exec::AllReduceOp>{builder, loc, dense(op.getInput()), op.getAxes(),
                                     denseOut(op.getResult())};
        return success();
      })
      .Case([&](dist::ReduceScatterOp op) {
        Statement<exec::ReduceScatterOp>{builder,     loc,          dense(op.getInput()),
                                         op.getDim(), op.getAxes(), denseOut(op.getResult())};
        return success();
      })
      .Case([&](dist::AllGatherOp op) {
        Statement<exec::AllGatherOp>{builder,     loc,          dense(op.getInput()),
                                     op.getDim(), op.getAxes(), denseOut(op.getResult())};
        return success();
      })
      .Case([&](dist::SplitOp op) {
        Statement<exec::SplitOp>{builder,     loc,          dense(op.getInput()),
                                 op.getDim(), op.getAxes(), denseOut(op.getResult())};
        return success();
      })
      .Case([&](dist::AxisIndexOp op) {
        Statement<exec::AxisIndexOp>{builder, loc, op.getAxes(), denseOut(op.getResult())};
        return success();
      })
      .Case([&](dist::ExchangeOp op) {
        Statement<exec::ExchangeOp>{builder,
                                    loc,
                                    routing(op.getRouting()),
                                    op.getAxes(),
                                    routing(op.getLocal()),
                                    place(op.getExchange())};
        return success();
      })
      .Case([&](dist::AllToAllRowsOp op) {
        Statement<exec::AllToAllRowsOp>{builder,
                                        loc,
                                        dense(op.getRows()),
                                        place(op.getExchange()),
                                        op.getExchange().getType().getAxes(),
                                        denseOut(op.getResult()),
                                        op.getBack()};
        return success();
      })
      .Default(
          [](Operation *other) { return other->emitOpError("has no statement in a program"); });
}
