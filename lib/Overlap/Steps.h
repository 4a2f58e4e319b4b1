//===- Steps.h - The functions that make a micro-batch ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_OVERLAP_STEPS_H
#define MOIRE_LIB_OVERLAP_STEPS_H

#include "dialects/pipe/PipeSchedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SetVector.h"

namespace moire::overlap {

/// @micro_step, or the functions of the stages and of their pairs. None where the module has no
/// mesh.
llvm::SetVector<mlir::func::FuncOp> findSteps(mlir::ModuleOp module);

} // namespace moire::overlap

#endif // MOIRE_LIB_OVERLAP_STEPS_H
