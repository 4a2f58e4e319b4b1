//===- hopper.cu - Descriptions for the copy engine -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/hopper.cuh"

#include "cuda/libraries.h"

#include <algorithm>

namespace moire::rt::hopper {

namespace {
using Encode = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found at run time: the trainer does not link the driver.
Encode findEncode() {
  void *function = nullptr;
  cudaDriverEntryPointQueryResult result;
  MOIRE_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                              cudaEnableDefault, &result));
  if (result != cudaDriverEntryPointSuccess)
    throw RunError("the GPU's driver has no cuTensorMapEncodeTiled; use a driver of CUDA 12 or "
                   "later");
  return reinterpret_cast<Encode>(function);
}
} // namespace

TensorMap tensorMap(Context &ctx, const bf16 *data, std::initializer_list<int64_t> dims,
                    std::initializer_list<int64_t> box, std::initializer_list<int64_t> pitches) {
  Libraries &libraries = librariesOf(ctx);
  if (!libraries.encodeTensorMap)
    libraries.encodeTensorMap = reinterpret_cast<void *>(findEncode());
  const auto encode = reinterpret_cast<Encode>(libraries.encodeTensorMap);
  cuuint64_t sizes[4], bytes[4];
  cuuint32_t boxes[4];
  const cuuint32_t ones[4] = {1, 1, 1, 1};
  std::copy(dims.begin(), dims.end(), sizes);
  std::copy(box.begin(), box.end(), boxes);
  cuuint64_t dense = sizeof(bf16);
  for (size_t i = 0; i + 1 < dims.size(); ++i) {
    dense *= sizes[i];
    bytes[i] = pitches.size() ? pitches.begin()[i] * sizeof(bf16) : dense;
  }
  TensorMap map;
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(dims.size()),
             const_cast<bf16 *>(data), sizes, bytes, boxes, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw RunError("the driver refuses to describe an array of " + std::to_string(sizes[0]) +
                   " by " + std::to_string(sizes[1]) + " with error " + std::to_string(status));
  return map;
}

int multiprocessorsOf(Context &ctx) { return librariesOf(ctx).multiprocessors; }

/// Set when the device's code was compiled, which the host's does not see.
__device__ int compiledForTensorCores = MOIRE_SM90A;

bool hasTensorCores(Context &ctx) {
  int &known = librariesOf(ctx).tensorCores;
  if (known < 0)
    MOIRE_CUDA(cudaMemcpyFromSymbol(&known, compiledForTensorCores, sizeof(int)));
  return known != 0;
}

} // namespace moire::rt::hopper
