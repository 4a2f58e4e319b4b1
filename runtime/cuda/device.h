//===- device.h - What a context keeps for its GPU ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_DEVICE_H
#define MOIRE_RT_CUDA_DEVICE_H

#include "cuda/pinned.h"
#include "cuda/step_graphs.h"
#include "moire/rt/context.h"
#include "moire/rt/cuda/launch.h"

namespace moire::rt {

/// Handles of libraries, made at their first use (gemm.cu, attention.cu).
struct Libraries;

struct Device {
  explicit Device(int number);
  ~Device();
  Device(const Device &) = delete;

  int number;
  cudaStream_t stream = nullptr;
  /// What jobs of startBeside() are given to, and the end of each of the last kJobs, by its
  /// number modulo kJobs. Made with the first job.
  static constexpr int kJobs = 256;
  cudaStream_t jobs = nullptr;
  cudaEvent_t begin = nullptr, ends[kJobs] = {};
  int64_t lastJob = 0; ///< its number, from 1
  std::unique_ptr<DeviceBlock[]> inputs; ///< what the inputs of Context and its second task point to
  /// Of a pipeline: the step's inputs, [micro-batches][inputs], for tasks take them again and
  /// again without the host's waiting.
  PinnedBlock staged;
  std::shared_ptr<Libraries> libraries;
  Graphs parts; ///< of stages' functions
  StepGraphs steps; ///< of one rank
};

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_DEVICE_H
