//===- Lengths.h - One model for sequences of several lengths ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_LENGTHS_H
#define MOIRE_LIB_TARGET_LENGTHS_H

#include "ProgramInfo.h"

namespace moire::target {

/// The programs of all sources, the shortest first. Fails, with a diagnostic, where their lengths
/// do not fit each other or they are not one model whose parameters lie alike.
mlir::FailureOr<std::vector<ProgramInfo>> collectLengths(llvm::ArrayRef<EmitSource> sources,
                                                         const EmitOptions &options);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_LENGTHS_H
