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

#include "moire/rt/context.h"
#include "moire/rt/cuda/launch.h"
#include "moire/rt/loss.h"

#include <cstdint>

namespace moire::rt {

enum class FaultKind : int32_t { none, expert, label, gatherIndex, scatterIndex };

/// Memory that host and device see. The first fault stays.
struct Fault {
  int32_t kind; ///< a FaultKind
  int64_t value, where, limit;
  int64_t seq, ignore; ///< of label: CrossEntropy's
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

/// Notes a label outside the vocabulary.
__device__ inline void reportLabel(Fault *fault, int64_t label, int64_t row,
                                   const CrossEntropy &c) {
  if (atomicCAS(&fault->kind, int32_t(FaultKind::none), int32_t(FaultKind::label)) != 0)
    return;
  fault->value = label;
  fault->where = row;
  fault->limit = c.vocab;
  fault->seq = c.seq;
  fault->ignore = c.ignoreIndex;
}

/// Where the kernels of a context report to.
Fault *faultOf(Context &ctx);
/// Throws RunError with one sentence if there is a fault, and forgets it. To be
/// called when the device has finished.
void checkFaults(Context &ctx);
/// The same where a kernel has finished when its launch returns: under the
/// execution model, and with CUDA_LAUNCH_BLOCKING=1 in the environment.
void checkFaultsOfModel(Context &ctx);

} // namespace moire::rt

#endif // MOIRE_CUDA_FAULT_H
