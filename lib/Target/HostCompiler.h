//===- HostCompiler.h - Builds the trainer with the host's compiler ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_HOSTCOMPILER_H
#define MOIRE_LIB_TARGET_HOSTCOMPILER_H

#include "Toolchain.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>
#include <vector>

namespace moire::target {

struct CompileFailure {
  std::string what; ///< the sentence
  std::string tail; ///< the last lines of what the compiler said
};

/// Compiles `sources` (units under `folder`), as many at a time as the machine
/// has cores, and links `folder`/trainer. What the compilers say goes to `log`,
/// which is removed when they succeed.
std::optional<CompileFailure> compileTrainer(llvm::StringRef folder,
                                             llvm::ArrayRef<std::string> sources,
                                             const Toolchain &tools, llvm::StringRef log);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_HOSTCOMPILER_H
