//===- bgemm.h - A block of a matrix product of bf16 ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// oneDNN multiplies bf16 where the processor has AVX-512 (with AVX512_BF16 or AMX
// by their instructions). Elsewhere blocks of both sides are widened and multiplied
// as floats, which costs a twentieth of the product more.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_BGEMM_H
#define MOIRE_RT_BGEMM_H

#include "moire/rt/bf16.h"

#include <cstdint>

namespace moire::rt {

/// Rows, columns and depth of a block.
inline constexpr int64_t kBlockRows = 256, kBlockColumns = 256, kBlockDepth = 1024;
/// What bgemm() needs of memory, in floats.
inline constexpr int64_t kBgemmFloats =
    kBlockRows * kBlockDepth + kBlockDepth * kBlockColumns + kBlockRows * kBlockColumns;

/// Whether oneDNN multiplies bf16 on this processor.
bool multipliesBf16();

/// C [m, n] = alpha · op(A) · op(B) + beta · C (+ bias [n]), row-major, m and n at
/// most a block's; on the calling thread inside a parallel region. C is bf16 or
/// float.
template <typename C>
void bgemm(bool transA, bool transB, int64_t m, int64_t n, int64_t k, float alpha,
           const bf16 *a, int64_t lda, const bf16 *b, int64_t ldb, float beta, C *c,
           int64_t ldc, const float *bias, float *memory);

} // namespace moire::rt

#endif // MOIRE_RT_BGEMM_H
