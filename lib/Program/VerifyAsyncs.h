//===- VerifyAsyncs.h - What runs beside collectives leaves them alone ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_VERIFYASYNCS_H
#define MOIRE_LIB_PROGRAM_VERIFYASYNCS_H

#include "dialects/exec/Exec.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moire::program {

/// Proves of a function of exec statements that
///  * exec.asyncs are numbered 0, 1, … in their order, and each is waited for once, later;
///  * between an async and its wait nobody writes what it reads or touches what it
///    writes: places of one buffer, parameter or gradient count as one, but two different
///    parts of rows of experts (`exec.part`) have no byte in common. Asyncs run one
///    after another and do not disturb each other;
///  * after an exec.start_reduce nobody touches its gradients;
///  * after an exec.publish nobody writes its places.
/// Statements of different buffers that share bytes are findOverlap()'s to find.
mlir::LogicalResult verifyAsyncs(mlir::func::FuncOp func);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_VERIFYASYNCS_H
