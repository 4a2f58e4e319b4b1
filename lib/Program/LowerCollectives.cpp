//===- LowerCollectives.cpp - Ops of the dist dialect --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

/// Places, views and copies stand in front of an exec.async, in it the collectives alone.
LogicalResult Lowering::lowerAsync(Operation *op) {
  if (auto wait = dyn_cast<dist::WaitOp>(op)) {
    builder.create<exec::WaitOp>(loc, asyncs.lookup(wait.getAsync()));
    return success();
  }
  if (auto publish = dyn_cast<pipe::PublishOp>(op)) {
    lowerPublish(publish);
    return success();
  }
  if (auto start = dyn_cast<pipe::StartReduceOp>(op)) {
    int64_t bucket = 0;
    if (!start.getStarted(&bucket))
      return start.emitOpError("starts nothing of @reduce_gradients");
    builder.create<exec::StartReduceOp>(loc, bucket, start.getParameters());
    return success();
  }
  SmallVector<Operation *> statements;
  for (Operation &inner : cast<dist::AsyncOp>(op).getBody().front().without_terminator()) {
    loc = inner.getLoc();
    if (failed(lowerCollective(&inner)))
      return failure();
    statements.push_back(&body->back());
  }
  const int64_t number = asyncs.size();
  asyncs[op] = number;
  auto async = builder.create<exec::AsyncOp>(loc, number);
  Block *inside = &async.getBody().emplaceBlock();
  for (Operation *statement : statements)
    statement->moveBefore(inside, inside->end());
  return success();
}

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
        if (op.getParts() > 1)
          body->back().setAttr(exec::kInPartsAttr, builder.getI64IntegerAttr(op.getParts()));
        return success();
      })
      .Default(
          [](Operation *other) { return other->emitOpError("has no statement in a program"); });
}
