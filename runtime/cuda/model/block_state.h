//===- block_state.h - What the runner tells shared memory ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_BLOCK_STATE_H
#define MOIRE_RT_CUDA_MODEL_BLOCK_STATE_H

#include <cstddef>

namespace moire::rt::model {

/// Bytes of dynamic shared memory of the blocks that follow.
void setDynamicShared(size_t bytes);
/// A block starts: its arrays are new.
void beginBlock();
/// All threads of the block have met.
void nextEpoch();

} // namespace moire::rt::model

#endif // MOIRE_RT_CUDA_MODEL_BLOCK_STATE_H
