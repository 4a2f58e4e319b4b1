//===- Toolchain.h - What compiles a program for each target --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_TOOLCHAIN_H
#define MOIRE_LIB_TARGET_TOOLCHAIN_H

#include "moire/Target/Program.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace moire::target {

/// The runtime's sources (a folder with include/, lib/ and cuda/) and the library
/// of the target.
struct RuntimePaths {
  std::string sources, library;
};
/// Where they were when Moiré was built, else beside the running executable
/// (../share/moire/runtime, ../lib). Empty strings where not found.
RuntimePaths findRuntime(TargetKind target);

/// A source that holds loops of elementwise kernels; all others only call.
inline bool isKernelSource(llvm::StringRef path) {
  return path.starts_with("src/") && path.rsplit('/').second.starts_with("kernels");
}
/// What the compiler is given as a unit: not a header.
inline bool isUnit(llvm::StringRef path) {
  return path.ends_with(".cpp") || path.ends_with(".cu");
}

/// Flags of the files that call and of those that hold kernels, without the
/// include path; the latter are nvcc's for the CUDA target. `optimize`: with the
/// optimization that each kind needs.
std::vector<std::string> callerFlags(const EmitOptions &options);
std::vector<std::string> kernelFlags(const EmitOptions &options);
/// Libraries that the trainer links besides the runtime.
std::vector<std::string> libraryFlags(const EmitOptions &options);

/// The command lines of one target on this machine, up to the file names.
struct Toolchain {
  std::vector<std::string> callers, kernels; ///< … -c -o OUTPUT SOURCE
  std::vector<std::string> link;             ///< … -o OUTPUT OBJECTS
  std::vector<std::string> libraries;        ///< after the objects
};
/// $CXX is the host's compiler, or the one that compiled the runtime; $NVCC is
/// nvcc, or the one in PATH, $CUDA_HOME or /usr/local/cuda. Fails with one
/// sentence where one is missing.
llvm::Expected<Toolchain> findToolchain(const EmitOptions &options, const RuntimePaths &runtime);
/// nvcc's path; empty where there is none.
std::string findNvcc();

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_TOOLCHAIN_H
