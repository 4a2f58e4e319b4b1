//===- beside.cu - Collectives beside the computation ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The host gives a job to a stream of its own and goes on. Two events order it: the job
// begins behind what the rank's stream had been given, and what that stream is given after
// waitBeside() begins behind the job. The host itself waits for neither.
//
//===----------------------------------------------------------------------===//

#include "cuda/device.h"
#include "cuda/link.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"

namespace moire::rt {

namespace {
void prepare(Device &device) {
  if (device.jobs)
    return;
  // Before kernels of the computation: who waits for another rank's rows gets them sooner.
  int lowest = 0, highest = 0;
  MOIRE_CUDA(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
  MOIRE_CUDA(cudaStreamCreateWithPriority(&device.jobs, cudaStreamNonBlocking, highest));
  MOIRE_CUDA(cudaEventCreateWithFlags(&device.begin, cudaEventDisableTiming));
  for (cudaEvent_t &end : device.ends)
    MOIRE_CUDA(cudaEventCreateWithFlags(&end, cudaEventDisableTiming));
}

/// For the time that a job is given to its stream.
struct InJob {
  explicit InJob(Context &ctx) : ctx(ctx) { ctx.inJob = true; }
  ~InJob() { ctx.inJob = false; }
  Context &ctx;
};

void waitFor(Device &device, int64_t number) {
  // The event may be a later job's by now, which is behind this one.
  MOIRE_CUDA(cudaStreamWaitEvent(device.stream, device.ends[number % Device::kJobs]));
}
} // namespace

Ticket startBeside(Context &ctx, std::function<void()> job) {
  Device &device = *ctx.device;
  prepare(device);
  MOIRE_CUDA(cudaEventRecord(device.begin, device.stream));
  MOIRE_CUDA(cudaStreamWaitEvent(device.jobs, device.begin));
  {
    const InJob inJob(ctx);
    job();
  }
  Ticket ticket;
  ticket.number = ++device.lastJob;
  MOIRE_CUDA(cudaEventRecord(device.ends[ticket.number % Device::kJobs], device.jobs));
  return ticket;
}

void waitBeside(Context &ctx, const Ticket &ticket) { waitFor(*ctx.device, ticket.number); }

void followJobs(Context &ctx) {
  if (!ctx.inJob && ctx.device->lastJob > 0)
    waitFor(*ctx.device, ctx.device->lastJob);
}

} // namespace moire::rt
