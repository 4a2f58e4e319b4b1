//===- fiber.h - Stacks that one thread switches between ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A switch saves the registers that a call preserves: about 3 ns, where
// swapcontext costs a system call for the signal mask.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_FIBER_H
#define MOIRE_RT_CUDA_MODEL_FIBER_H

#include <cstddef>

namespace moire::rt::model {

/// Prepares `stack` (lowest address) so that a switch to the result calls
/// entry(), which must not return.
void *makeFiber(char *stack, size_t bytes, void (*entry)());

/// Saves this stack pointer to *from and goes on at `to`.
void switchFiber(void **from, void *to);

} // namespace moire::rt::model

#endif // MOIRE_RT_CUDA_MODEL_FIBER_H
