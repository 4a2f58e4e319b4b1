//===- ExecCollectives.cpp - Verifiers of statements in which ranks meet -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"

using namespace mlir;
using namespace moire::exec;

static MemRefType bufferType(Value place) { return cast<MemRefType>(place.getType()); }

LogicalResult AllReduceOp::verify() {
  if (bufferType(getInput()) != bufferType(getResult()))
    return emitOpError("result ") << bufferType(getResult()) << " must be as the input "
                                  << bufferType(getInput());
  return success();
}

/// `larger` must be `smaller` but for one dim, which is a multiple there.
static LogicalResult verifyMultiple(Operation *op, int64_t dim, StringRef largerName,
                                    MemRefType larger, StringRef smallerName, MemRefType smaller) {
  if (dim < 0 || dim >= larger.getRank())
    return op->emitOpError("dim ") << dim << " must lie in 0.." << larger.getRank() - 1;
  SmallVector<int64_t> shape(smaller.getShape());
  if (larger.getRank() == smaller.getRank() && shape[dim] != 0 &&
      larger.getDimSize(dim) % shape[dim] == 0)
    shape[dim] = larger.getDimSize(dim);
  if (larger != MemRefType::get(shape, smaller.getElementType()))
    return op->emitOpError() << largerName << " " << larger << " must be as " << smallerName << " "
                             << smaller << " but for a multiple of dim " << dim;
  return success();
}

LogicalResult ReduceScatterOp::verify() {
  return verifyMultiple(*this, getDim(), "input", bufferType(getInput()), "result",
                        bufferType(getResult()));
}
LogicalResult SplitOp::verify() {
  return verifyMultiple(*this, getDim(), "input", bufferType(getInput()), "result",
                        bufferType(getResult()));
}
LogicalResult AllGatherOp::verify() {
  return verifyMultiple(*this, getDim(), "result", bufferType(getResult()), "input",
                        bufferType(getInput()));
}

LogicalResult AxisIndexOp::verify() {
  if (bufferType(getResult()).getNumElements() != 1)
    return emitOpError("result ") << bufferType(getResult()) << " must have one element";
  return success();
}

LogicalResult ExchangeOp::verify() {
  auto routing = cast<nn::RoutingType>(getRouting().getType());
  auto local = cast<nn::RoutingType>(getLocal().getType());
  if (local.getExperts() < 1 || routing.getExperts() % local.getExperts() != 0)
    return emitOpError() << routing.getExperts() << " experts must be a multiple of the "
                         << local.getExperts() << " local ones";
  const int64_t expected = elements(routing.getExperts());
  if (bufferType(getCounts()).getNumElements() != expected)
    return emitOpError("counts ") << bufferType(getCounts()) << " must have " << expected
                                  << " elements";
  return success();
}

LogicalResult AllToAllRowsOp::verify() {
  MemRefType rows = bufferType(getRows()), result = bufferType(getResult());
  if (rows.getRank() != 2 || result.getRank() != 2 || rows.getDimSize(1) != result.getDimSize(1) ||
      rows.getElementType() != result.getElementType())
    return emitOpError("result ") << result << " must have rows like those of " << rows;
  return success();
}

LogicalResult AsyncOp::verifyRegions() {
  if (getBody().front().empty())
    return emitOpError("holds no collective");
  for (Operation &op : getBody().front())
    if (!isa<ExecDialect>(op.getDialect()) || isa<SplitOp, AxisIndexOp>(op) ||
        !op.getAttrOfType<ArrayAttr>("axes"))
      return op.emitOpError("is no collective and has no place in an exec.async");
  return success();
}
