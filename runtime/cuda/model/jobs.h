//===- jobs.h - A stream beside the rank's, in the model ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A GPU may do what a second stream was given at once or late: all that holds is what
// events say. The model does a job as late as these allow, when it is waited for, so that
// what is read without waiting, and what a job still needs and is written over, gives
// wrong numbers every time; or as early, to show what begins too soon.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_JOBS_H
#define MOIRE_RT_CUDA_MODEL_JOBS_H

#include "cuda/step_graphs.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>

namespace moire::rt {

struct Device {
  std::deque<std::function<void()>> jobs; ///< that have not begun
  int64_t last = 0;                       ///< the number of the last one given, from 1
  /// What the inputs of Context and its second task point to.
  std::unique_ptr<DeviceBlock[]> inputs;
  Graphs parts;     ///< of stages' functions
  StepGraphs steps; ///< of one rank
};

namespace model {
/// Whether jobs are done when they are given; else when they are waited for.
inline std::atomic<bool> jobsAreEarly{false};
} // namespace model

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_MODEL_JOBS_H
