//===- Dist.h - The dist dialect -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_DIST_DIST_H
#define MOIRE_DIALECTS_DIST_DIST_H

#include "dialects/nn/NN.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/dist/DistOpsDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/dist/DistOpsAttributes.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/dist/DistOpsTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/dist/DistOps.h.inc"

namespace moire::dist {

/// The module's attribute that holds its mesh.
inline constexpr llvm::StringLiteral kMeshAttr = "dist.mesh";

/// The mesh of the module that `op` is or lies in; null where it has none.
MeshAttr meshOf(mlir::Operation *op);

/// Whether the ranks of a group meet in `op`: it names axes and moves something.
bool isCollective(mlir::Operation *op);
/// The axes that a collective names; null for any other op.
mlir::ArrayAttr axesOf(mlir::Operation *op);
/// What an async yields where `value` is its wait's; else the value itself.
mlir::Value behindWait(mlir::Value value);

} // namespace moire::dist

#endif // MOIRE_DIALECTS_DIST_DIST_H
