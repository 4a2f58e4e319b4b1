//===- ExecStages.cpp - Verifier of what stages keep ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"

using namespace mlir;
using namespace moire::exec;

int64_t KeptOp::getBytes() {
  auto type = cast<MemRefType>(getType());
  return type.getNumElements() * elementBytes(type.getElementType());
}

LogicalResult KeptOp::verify() {
  static const StringRef roles[] = {"pipe.input", "pipe.output", "pipe.input_cotangent",
                                    "pipe.output_cotangent", "pipe.residual"};
  if (!llvm::is_contained(roles, getRole())) {
    InFlightDiagnostic error = emitOpError("role '") << getRole() << "' must be one of ";
    llvm::interleaveComma(roles, error);
    return error;
  }
  if (static_cast<int64_t>(getNumber()) < 0)
    return emitOpError("number ") << static_cast<int64_t>(getNumber()) << " must be 0 or more";
  if (auto offset = getOffset(); offset && *offset % 64)
    return emitOpError("offset ") << *offset << " must be a multiple of 64";
  return success();
}
