//===- JobsTest.cpp - Collectives beside the computation on a GPU ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// By the model, which does a job as late or as early as what orders it allows. What is
// ordered gives the same both times; what is not gives another number in one of them.
//
//===----------------------------------------------------------------------===//

#include "cuda/model/jobs.h"
#include "CommUtil.h"
#include "TestUtil.h"
#include "cuda/link.h"
#include "moire/rt/collectives.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int64_t kElements = 1000;

/// What rank 0 has in `sum` after body(ctx, own, sum), own[i] of rank r being r + 1 + i.
std::vector<float> run(bool early, bool nccl,
                       const std::function<void(Context &, float *, float *)> &body) {
  model::jobsAreEarly = early;
  std::vector<float> result;
  const auto errors = onThreads(line(3), {{0}}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    ctx.link = nccl ? linkByNccl(ctx) : linkThroughHost();
    std::vector<float> own(kElements), sum(kElements, -1);
    for (int64_t i = 0; i < kElements; ++i)
      own[i] = float(comm.rank() + 1 + i);
    body(ctx, own.data(), sum.data());
    if (comm.rank() == 0)
      result = sum;
    followJobs(ctx);
    comm.barrier(comm.group(0), "the end");
  });
  model::jobsAreEarly = false;
  EXPECT_EQ(errors, std::vector<std::string>(3));
  return result;
}

Ticket startSum(Context &ctx, const float *from, float *to) {
  return startBeside(ctx, [&ctx, from, to] { allReduce(ctx, 0, "a sum", from, to, kElements); });
}
/// times · Σ over ranks of r + 1 + i.
std::vector<float> sums(float times) {
  std::vector<float> x(kElements);
  for (int64_t i = 0; i < kElements; ++i)
    x[i] = times * (6 + 3 * float(i));
  return x;
}
} // namespace

TEST(Jobs, WhatIsWaitedForIsThereWheneverItIsDone) {
  for (bool early : {false, true})
    for (bool nccl : {false, true}) {
      SCOPED_TRACE(early);
      // Two jobs, the second of which needs the first, and a collective outside of jobs.
      EXPECT_EQ(run(early, nccl,
                    [](Context &ctx, float *own, float *sum) {
                      startSum(ctx, own, sum);
                      waitBeside(ctx, startSum(ctx, sum, sum));
                      startSum(ctx, sum, sum);
                      allReduce(ctx, 0, "outside", sum, sum, kElements);
                    }),
                sums(27));
    }
}

TEST(Jobs, AMissingWaitIsTold) {
  const auto body = [](bool waits) {
    return [waits](Context &ctx, float *own, float *sum) {
      std::vector<float> result(kElements, -1);
      const Ticket ticket = startSum(ctx, own, result.data());
      if (waits)
        waitBeside(ctx, ticket);
      copy(ctx, kElements, result.data(), sum);
      waitBeside(ctx, ticket);
    };
  };
  EXPECT_EQ(run(false, false, body(true)), sums(1));
  EXPECT_EQ(run(true, false, body(true)), sums(1));
  EXPECT_NE(run(false, false, body(false)), sums(1));
}

TEST(Jobs, WhatAJobStillNeedsAndIsWrittenOverIsTold) {
  const auto body = [](bool waits) {
    return [waits](Context &ctx, float *own, float *sum) {
      const Ticket ticket = startSum(ctx, own, sum);
      if (waits)
        waitBeside(ctx, ticket);
      fill(ctx, kElements, 0.0f, own);
      waitBeside(ctx, ticket);
    };
  };
  EXPECT_EQ(run(false, false, body(true)), sums(1));
  EXPECT_NE(run(false, false, body(false)), sums(1));
}

// Kernels of jobs must not share room with those beside which they run.
TEST(Jobs, HaveScratchMemoryOfTheirOwn) {
  run(false, false, [](Context &ctx, float *, float *) {
    const void *outside = ctx.scratch(4096), *inside = nullptr;
    waitBeside(ctx, startBeside(ctx, [&] { inside = ctx.scratch(4096); }));
    EXPECT_NE(inside, outside);
    EXPECT_EQ(ctx.scratch(4096), outside);
  });
}
