//===- Pipe.h - The pipe dialect -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_PIPE_H
#define MOIRE_DIALECTS_PIPE_PIPE_H

#include "dialects/dist/Dist.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "moire/Scheduling/Problem.h"
#include "llvm/ADT/Hashing.h"

namespace moire::pipe {

/// The value of #pipe.cost.
struct Cost {
  scheduling::StageCost value;
  bool operator==(const Cost &other) const;
};
llvm::hash_code hash_value(const Cost &cost);

/// The value of #pipe.link: the connection from one rank to another.
struct DirectedLink {
  int from = 0, to = 0;
  scheduling::Link link;
  bool operator==(const DirectedLink &other) const;
  /// ` latency 0.009 bandwidth 5.0e+10`; what is not given is left as it is.
  mlir::ParseResult parseRates(mlir::AsmParser &parser);
  void printRates(mlir::AsmPrinter &printer) const;
};
llvm::hash_code hash_value(const DirectedLink &link);

} // namespace moire::pipe

#include "dialects/pipe/PipeOpsDialect.h.inc"
#include "dialects/pipe/PipeOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/pipe/PipeOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/pipe/PipeOps.h.inc"

#endif // MOIRE_DIALECTS_PIPE_PIPE_H
