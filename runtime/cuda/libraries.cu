//===- libraries.cu - What the kernels' libraries keep for a context ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/device.h"
#include "cuda/libraries.h"

namespace moire::rt {

Libraries::Libraries(int device) : workspace(kWorkspaceBytes), gemms(createGemmPlans()),
      attentions(createAttentionPlans()) {
  MOIRE_CUDA(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  MOIRE_CUDA(cudaHostAlloc(reinterpret_cast<void **>(&fault), sizeof(Fault), cudaHostAllocMapped));
  *fault = {};
  if (cublasStatus_t status = cublasLtCreate(&lt); status != CUBLAS_STATUS_SUCCESS)
    throw RunError(std::string("cuBLASLt does not start: ") + cublasLtGetStatusString(status));
}
Libraries::~Libraries() {
  gemms.reset();
  attentions.reset();
  cublasLtDestroy(lt);
  cudaFreeHost(fault);
}

Libraries &librariesOf(Context &ctx) {
  if (!ctx.device->libraries)
    ctx.device->libraries = std::make_shared<Libraries>(ctx.device->number);
  return *ctx.device->libraries;
}

AttentionPlans &attentionPlansOf(Context &ctx) { return *librariesOf(ctx).attentions; }

} // namespace moire::rt
