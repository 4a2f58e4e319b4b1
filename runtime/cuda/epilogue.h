//===- epilogue.h - What a product does with its sums ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_EPILOGUE_H
#define MOIRE_CUDA_EPILOGUE_H

#include "moire/rt/cuda/launch.h"

#include <cstdint>

namespace moire::rt {

/// Besides the bias; all lie as the result does. At most one of residual and gelu.
template <typename C> struct Epilogue {
  const C *residual = nullptr; ///< added
  bool gelu = false;           ///< C = gelu(sum)
  C *before = nullptr;         ///< with gelu: gets the sums, may be null

  explicit operator bool() const { return gelu || residual; }
  /// The same of the tile that begins `elements` further on.
  __host__ __device__ Epilogue at(int64_t elements) const {
    return {residual ? residual + elements : nullptr, gelu, before ? before + elements : nullptr};
  }
};

} // namespace moire::rt

#endif // MOIRE_CUDA_EPILOGUE_H
