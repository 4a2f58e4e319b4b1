//===- HostCompiler.h - Builds the trainer with the host's compiler ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_HOSTCOMPILER_H
#define MOIRE_LIB_TARGET_HOSTCOMPILER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>
#include <vector>

namespace moire::target {

/// The runtime's sources (a folder with include/ and lib/) and its library.
struct RuntimePaths {
  std::string sources, library;
};
/// Where they were when Moiré was built, else beside the running executable
/// (../share/moire/runtime, ../lib). Empty strings where not found.
RuntimePaths findRuntime();

/// Flags that all files of a program are compiled with; optimization aside.
std::vector<std::string> compileFlags();

/// Whether a source holds loops of elementwise kernels: it alone needs -O3.
inline bool isKernelSource(llvm::StringRef path) { return path.starts_with("src/kernels"); }

struct CompileFailure {
  std::string what; ///< the sentence
  std::string tail; ///< the last lines of what the compiler said
};

/// Compiles `sources` (.cpp files under `folder`), as many at a time as the
/// machine has cores, and links `folder`/trainer. What the compiler says goes to
/// `log`, which is removed when it succeeds. $CXX is the compiler, or the one
/// that compiled Moiré.
std::optional<CompileFailure> compileTrainer(llvm::StringRef folder,
                                             llvm::ArrayRef<std::string> sources,
                                             const RuntimePaths &runtime, llvm::StringRef log);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_HOSTCOMPILER_H
