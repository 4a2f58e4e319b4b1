//===- scatter_add.h - Adding rows to indexed rows ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_SCATTER_ADD_H
#define MOIRE_RT_CUDA_SCATTER_ADD_H

#include "cuda/index.cuh"

namespace moire::rt::device {

/// y[target of u, :] += updates[u, :]. Up to 32 updates of one row are added in
/// order of u; more in pieces of 32, each in order, then the pieces in order.
/// The targets are those of index.cuh; T is float, double, int64_t, int32_t,
/// uint8_t or bf16.
template <typename T, typename Target>
void scatterAdd(Context &ctx, const Target &target, const T *updates, T *y);

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_SCATTER_ADD_H
