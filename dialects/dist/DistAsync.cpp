//===- DistAsync.cpp - Verifiers of collectives beside computation -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"

using namespace mlir;
using namespace moire::dist;

Value moire::dist::behindWait(Value value) {
  auto wait = value.getDefiningOp<WaitOp>();
  return wait ? wait.getAsync().getYielded()[cast<OpResult>(value).getResultNumber()] : value;
}

Operation *AsyncOp::getWait() {
  for (Value future : getFutures())
    if (!future.use_empty())
      return *future.user_begin();
  return nullptr;
}

LogicalResult AsyncOp::verifyRegions() {
  Block &body = getBody().front();
  if (body.empty() || !isa<YieldOp>(body.back()))
    return emitOpError("must end in dist.yield");
  if (llvm::hasSingleElement(body))
    return emitOpError("holds no collective");
  for (Operation &op : body.without_terminator())
    if (!isCollective(&op))
      return op.emitOpError("is no collective and has no place in a dist.async");
  // 1. Futures are those of the values.
  SmallVector<Type> expected;
  for (Type type : getYielded().getTypes())
    expected.push_back(FutureType::get(getContext(), type));
  if (expected.empty())
    expected.push_back(FutureType::get(getContext(), NoneType::get(getContext())));
  if (!llvm::equal(expected, getFutures().getTypes())) {
    InFlightDiagnostic error = emitOpError("futures must be ");
    llvm::interleaveComma(expected, error);
    return error;
  }
  // 2. One wait.
  for (Value future : getFutures())
    for (Operation *user : future.getUsers())
      if (!isa<WaitOp>(user) || user != getWait() || !future.hasOneUse())
        return emitOpError("must be waited for once, by one dist.wait");
  return success();
}

AsyncOp WaitOp::getAsync() {
  return getFutures().empty() ? AsyncOp() : getFutures().front().getDefiningOp<AsyncOp>();
}

LogicalResult WaitOp::verify() {
  AsyncOp async = getAsync();
  if (!async || !llvm::equal(getFutures(), async.getFutures()))
    return emitOpError("must name all futures of one dist.async, in their order");
  SmallVector<Type> expected;
  for (Value future : getFutures())
    if (Type value = cast<FutureType>(future.getType()).getValue(); !isa<NoneType>(value))
      expected.push_back(value);
  if (!llvm::equal(expected, getValues().getTypes()))
    return emitOpError("must give the values of its futures");
  return success();
}
