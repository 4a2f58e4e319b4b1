//===- fault.h - What a kernel found wrong --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A kernel cannot throw and the host does not wait for it. So a kernel that
// finds bad data notes it, goes on with a harmless value, and the runtime looks
// at the note whenever it waits for the device anyway.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_FAULT_H
#define MOIRE_CUDA_FAULT_H

#include "moire/rt/cuda/launch.h"
#include "moire/rt/context.h"

#include <cstdint>

namespace moire::rt {

enum class FaultKind : int32_t { none, expert };

/// Memory that host and device see. The first fault stays.
struct Fault {
  int32_t kind; ///< a FaultKind
  int64_t value, where, limit;
};

/// Notes a fault if there is none.
__device__ inline void report(Fault *fault, FaultKind kind, int64_t value, int64_t where,
                              int64_t limit) {
  if (atomicCAS(&fault->kind, int32_t(FaultKind::none), int32_t(kind)) != 0)
    return;
  fault->value = value;
  fault->where = where;
  fault->limit = limit;
}

/// Where the kernels of a context report to.
Fault *faultOf(Context &ctx);
/// Throws RunError with one sentence if there is a fault, and forgets it. To be
/// called when the device has finished.
void checkFaults(Context &ctx);
/// Under the execution model a kernel has finished when its launch returns.
inline void checkFaultsOfModel([[maybe_unused]] Context &ctx) {
#ifdef MOIRE_CUDA_MODEL
  checkFaults(ctx);
#endif
}

} // namespace moire::rt

#endif // MOIRE_CUDA_FAULT_H
