//===- Order.h - In which order blocks and threads run --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_CUDA_TEST_ORDER_H
#define MOIRE_CUDA_TEST_ORDER_H

#include <cstdint>

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/model.h"
#endif

namespace moire::rt::test {

/// Of the launches that follow, where the model runs them: a permutation drawn
/// from the seed, 0 ascending. A GPU has its own.
inline void setOrder([[maybe_unused]] uint32_t seed) {
#ifdef MOIRE_CUDA_MODEL
  model::setOrder(seed);
#endif
}

} // namespace moire::rt::test

#endif
