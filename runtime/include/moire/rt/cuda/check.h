//===- check.h - Errors of the CUDA API as exceptions ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_CHECK_H
#define MOIRE_RT_CUDA_CHECK_H

#include "moire/rt/context.h"

#if defined(MOIRE_CUDA_MODEL)
#include "cuda/model/model.h"
#else
#include <cuda_runtime.h>
#endif

namespace moire::rt {

/// Throws RunError, one sentence: the call, its place, what CUDA says.
inline void checkCuda(cudaError_t status, const char *call, const char *file, int line) {
  if (status == cudaSuccess)
    return;
  const std::string path = file;
  throw RunError(std::string(call) + " failed at " + path.substr(path.rfind('/') + 1) +
                 ":" + std::to_string(line) + ": " + cudaGetErrorString(status));
}

/// The kernel's name of "name<A, B>, argument, …", a launch's text.
inline std::string kernelName(const char *text) {
  const char *end = text;
  for (int depth = 0; *end && (depth || *end != ','); ++end)
    depth += (*end == '<' || *end == '(') - (*end == '>' || *end == ')');
  return std::string(text, end);
}

} // namespace moire::rt

/// For every call of the CUDA runtime: none may fail unseen.
#define MOIRE_CUDA(call) ::moire::rt::checkCuda((call), #call, __FILE__, __LINE__)

#endif // MOIRE_RT_CUDA_CHECK_H
