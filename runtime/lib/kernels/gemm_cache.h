//===- gemm_cache.h - What GEMMs keep between calls -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GEMM_CACHE_H
#define MOIRE_RT_GEMM_CACHE_H

namespace moire::rt {

/// Empty on purpose: dnnl_sgemm keeps its generated code itself, and measured
/// (oneDNN 2.6, Zen 3, GPT-2's shapes) it is as fast as cached matmul
/// primitives: both are its `gemm:jit`, 160 to 185 of 205 GFLOP/s.
class GemmCache {};

} // namespace moire::rt

#endif // MOIRE_RT_GEMM_CACHE_H
