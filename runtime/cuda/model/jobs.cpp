//===- jobs.cpp - A stream beside the rank's, in the model ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/jobs.h"
#include "cuda/link.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"

#include <utility>

namespace moire::rt {

namespace {
/// Does all jobs up to this number.
void doUpTo(Context &ctx, int64_t number) {
  Device &device = *ctx.device;
  while (!device.jobs.empty() && device.last - int64_t(device.jobs.size()) < number) {
    const std::function<void()> job = std::move(device.jobs.front());
    device.jobs.pop_front();
    ctx.inJob = true;
    try {
      job();
    } catch (...) {
      ctx.inJob = false;
      throw;
    }
    ctx.inJob = false;
  }
}
} // namespace

Ticket startBeside(Context &ctx, std::function<void()> job) {
  Device &device = *ctx.device;
  device.jobs.push_back(std::move(job));
  Ticket ticket;
  ticket.number = ++device.last;
  if (model::jobsAreEarly)
    doUpTo(ctx, ticket.number);
  return ticket;
}

void waitBeside(Context &ctx, const Ticket &ticket) { doUpTo(ctx, ticket.number); }

void followJobs(Context &ctx) {
  if (!ctx.inJob)
    doUpTo(ctx, ctx.device->last);
}

} // namespace moire::rt
