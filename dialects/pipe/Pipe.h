//===- Pipe.h - The pipe dialect -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_PIPE_H
#define MOIRE_DIALECTS_PIPE_PIPE_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/pipe/PipeOpsDialect.h.inc"
#include "dialects/pipe/PipeOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/pipe/PipeOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/pipe/PipeOps.h.inc"

#endif // MOIRE_DIALECTS_PIPE_PIPE_H
