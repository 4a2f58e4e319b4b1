//===- Placement.h - Which rank has what of a compiled model ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PIPELINES_PLACEMENT_H
#define MOIRE_LIB_PIPELINES_PLACEMENT_H

#include "mlir/IR/BuiltinOps.h"
#include "moire/Frontend/Placement.h"

namespace moire {

/// Of a module after phase stages. Of a module without a mesh: one device and nothing divided.
mlir::FailureOr<frontend::Placement> placementOf(mlir::ModuleOp module);

} // namespace moire

#endif // MOIRE_LIB_PIPELINES_PLACEMENT_H
