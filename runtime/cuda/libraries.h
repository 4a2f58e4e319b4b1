//===- libraries.h - What the kernels' libraries keep for a context -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_LIBRARIES_H
#define MOIRE_CUDA_LIBRARIES_H

#include "cuda/attention_cudnn.h"
#include "cuda/fault.h"
#include "cuda/gemm_lt.h"
#include "moire/rt/context.h"

#include <cublasLt.h>

namespace moire::rt {

/// Of cuBLASLt's workspace: what cuBLAS recommends for Hopper.
inline constexpr int64_t kWorkspaceBytes = int64_t(32) << 20;

/// Made at the start of a program; without one, at the first use.
struct Libraries {
  explicit Libraries(int device);
  ~Libraries();
  Libraries(const Libraries &) = delete;

  int multiprocessors = 0;
  int tensorCores = -1;            ///< not yet known (hopper.cu)
  void *encodeTensorMap = nullptr; ///< the driver's function (hopper.cu)
  Fault *fault = nullptr;          ///< host memory that the device can write
  cublasLtHandle_t lt = nullptr;
  DeviceBlock workspace; ///< cuBLASLt's
  std::shared_ptr<GemmPlans> gemms;
  std::shared_ptr<AttentionPlans> attentions;
};

Libraries &librariesOf(Context &ctx);

} // namespace moire::rt

#endif // MOIRE_CUDA_LIBRARIES_H
