//===- peak_flops.h - What a GPU can compute at most ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PEAK_FLOPS_H
#define MOIRE_RT_PEAK_FLOPS_H

#include <string>

namespace moire::rt {

/// FLOP/s of dense products with f32 sums, by the name that CUDA gives the GPU: bf16, or f32
/// without TF32. 0 for a name that is not in the table; CPUs are not.
double knownPeakFlops(const std::string &device, bool bf16);

} // namespace moire::rt

#endif // MOIRE_RT_PEAK_FLOPS_H
