//===- sgemm.h - One matrix product by oneDNN -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SGEMM_H
#define MOIRE_RT_SGEMM_H

#include <cstdint>

namespace moire::rt {

/// C [m, n] = alpha · op(A) · op(B) + beta · C, row-major. Inside a parallel
/// region it runs on the calling thread, outside on all OpenMP threads.
void sgemm(bool transA, bool transB, int64_t m, int64_t n, int64_t k,
           float alpha, const float *a, int64_t lda, const float *b,
           int64_t ldb, float beta, float *c, int64_t ldc);

} // namespace moire::rt

#endif // MOIRE_RT_SGEMM_H
