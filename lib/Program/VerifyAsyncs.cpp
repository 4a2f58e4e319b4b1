//===- VerifyAsyncs.cpp - What runs beside collectives leaves them alone -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "VerifyAsyncs.h"
#include "Memory.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

LogicalResult program::verifyAsyncs(func::FuncOp func) {
  llvm::MapVector<int64_t, exec::AsyncOp> open;  // started and not waited for
  llvm::DenseMap<Attribute, Operation *> summed; // gradients whose sum was started
  llvm::DenseMap<Memory, Operation *> published; // places that messages are taken from
  auto keepsPublished = [&](Operation &op) -> LogicalResult {
    for (const Memory &memory : Touched(op).writes)
      if (Operation *publish = published.lookup(memory)) {
        InFlightDiagnostic error = op.emitError("writes what has left for another stage");
        error.attachNote(publish->getLoc()) << "it left here";
        return error;
      }
    return success();
  };
  int64_t next = 0;
  for (Operation &op : func.getBody().getOps()) {
    if (auto async = dyn_cast<exec::AsyncOp>(op)) {
      if ((int64_t)async.getNumber() != next)
        return async.emitError("has number ")
               << async.getNumber() << " and must have " << next << ": asyncs count up";
      for (Operation &inner : async.getBody().front())
        if (failed(keepsPublished(inner)))
          return failure();
      open[next++] = async;
      continue;
    }
    if (auto wait = dyn_cast<exec::WaitOp>(op)) {
      if (!open.count(wait.getNumber()))
        return wait.emitError("waits for exec.async ")
               << wait.getNumber() << ", which is not under way here";
      open.erase(wait.getNumber());
      continue;
    }
    if (auto start = dyn_cast<exec::StartReduceOp>(op)) {
      for (Attribute parameter : start.getParameters())
        summed[parameter] = start;
      continue;
    }
    Touched own(op);
    for (auto &[number, async] : open)
      for (Operation &inner : async.getBody().front()) {
        Touched theirs(inner);
        // Parts of rows share places that are in the order of local experts, and no byte of them.
        const exec::Part mine = exec::partOf(&op), other = exec::partOf(&inner);
        if (mine.exchange >= 0 && mine.exchange == other.exchange && mine.index != other.index) {
          auto move = cast<exec::AllToAllRowsOp>(inner);
          (move.getBack() ? theirs.reads : theirs.writes)
              .erase(memoryOf(move.getBack() ? move.getRows() : move.getResult()));
        }
        if (!meet(own.writes, theirs.reads) && !meet(own.writes, theirs.writes) &&
            !meet(own.reads, theirs.writes))
          continue;
        InFlightDiagnostic error = op.emitError("touches what exec.async ")
                                   << number << " works on and must wait for it";
        error.attachNote(async.getLoc()) << "it was started here";
        return error;
      }
    if (failed(keepsPublished(op)))
      return failure();
    if (auto publish = dyn_cast<exec::PublishOp>(op))
      for (Value place : publish.getOutputs())
        published[memoryOf(place)] = publish;
    for (auto [parameter, start] : summed)
      if (Memory gradient{parameter.getAsOpaquePointer(), 1};
          own.reads.contains(gradient) || own.writes.contains(gradient)) {
        InFlightDiagnostic error = op.emitError("touches the gradient of ")
                                   << parameter << ", whose sum has begun";
        error.attachNote(start->getLoc()) << "it was started here";
        return error;
      }
  }
  if (!open.empty())
    return open.front().second.emitError("is never waited for");
  return success();
}
