//===- Functors.h - Elementwise kernels as scalar C++ --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_FUNCTORS_H
#define MOIRE_LIB_TARGET_FUNCTORS_H

#include "dialects/exec/Exec.h"

namespace moire::target {

/// `kernel7` -> `Kernel7`, the functor's name.
std::string functorName(llvm::StringRef kernel);

/// The struct of one kernel as moire/rt/elementwise.h wants it.
mlir::FailureOr<std::string> emitFunctor(exec::KernelOp kernel);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_FUNCTORS_H
