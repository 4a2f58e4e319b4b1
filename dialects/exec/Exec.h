//===- Exec.h - The exec dialect -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_EXEC_EXEC_H
#define MOIRE_DIALECTS_EXEC_EXEC_H

#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace moire::exec {

/// A memref of static shape and strides whose layout has offset 0.
bool isPlace(mlir::Type type);
/// A place that is row-major without gaps.
bool isDense(mlir::Type type);
/// Whether a place holds f32 or bf16.
bool isF32OrBF16(mlir::Type type);
/// Strides of a place, in elements.
llvm::SmallVector<int64_t> stridesOf(mlir::MemRefType type);
/// Bytes of one element in memory: i1 takes one.
int64_t elementBytes(mlir::Type element);
/// The place type of this shape and these strides; dense ones have no layout.
mlir::MemRefType placeType(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> strides,
                           mlir::Type element);
/// The buffer, parameter, gradient, input or constant that a place or a routing
/// lies in.
mlir::Value rootOf(mlir::Value place);

/// Of a statement: the loss of the micro-batch does not need it, so that evaluation leaves it out.
inline constexpr llvm::StringLiteral kTrainingAttr = "exec.training";
/// Of a statement: names of the groups of parameters that need it, where nothing else does.
inline constexpr llvm::StringLiteral kGroupsAttr = "exec.groups";
/// Of an all_to_all_rows: in how many parts its rows are to move.
inline constexpr llvm::StringLiteral kInPartsAttr = "exec.in_parts";
/// Of a statement about rows of experts: of which part alone, how many there are, and of which
/// exchange of the function.
inline constexpr llvm::StringLiteral kPartAttr = "exec.part";
struct Part {
  int64_t index = 0, count = 1;
  int64_t exchange = -1; ///< counted in the function
};
/// {0, 1, -1}, where it is about all rows.
Part partOf(mlir::Operation *op);

} // namespace moire::exec

#include "dialects/exec/ExecOpsDialect.h.inc"
#include "dialects/exec/ExecOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/exec/ExecOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/exec/ExecOps.h.inc"

#endif // MOIRE_DIALECTS_EXEC_EXEC_H
