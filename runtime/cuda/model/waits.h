//===- waits.h - How often the host waits for a GPU -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_WAITS_H
#define MOIRE_RT_CUDA_MODEL_WAITS_H

#include <cstdint>

namespace moire::rt::model {

/// Copies of this thread between host and device after which a GPU's stream would be
/// waited for.
inline thread_local int64_t hostWaits = 0;

} // namespace moire::rt::model

#endif // MOIRE_RT_CUDA_MODEL_WAITS_H
