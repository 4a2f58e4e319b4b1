//===- BatchAuto.h - moirec --bind NAME=auto ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIREC_BATCHAUTO_H
#define MOIRE_TOOLS_MOIREC_BATCHAUTO_H

#include "moire/Pipelines/Pipelines.h"
#include "moire/Target/Program.h"
#include <optional>
#include <string>

namespace moire {

/// Where `options` bind a dim to `auto`: compiles for sizes of it, in memory, and binds it to the largest
/// whose program needs no more than `limit` ("16GB", "64GiB") on each rank. Says in `report`, one
/// line, what that is. Returns an error sentence, an empty one where the compiler has told its
/// errors already.
std::optional<std::string> chooseBatch(CompileOptions &options, const target::EmitOptions &emit,
                                       const std::string &limit, mlir::MLIRContext &context,
                                       std::string &report);

} // namespace moire

#endif // MOIRE_TOOLS_MOIREC_BATCHAUTO_H
