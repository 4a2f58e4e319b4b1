//===- GraphsTest.cpp - Parts of functions as graphs, against plain runs --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/graphs.h"
#include "TestUtil.h"
#include "cuda/model/jobs.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int64_t kM = 5, kN = 7, kK = 3;
constexpr int64_t kX = 0, kY = 256, kSlot = 512; // bytes

/// y = x · w of a task's slot; the sum of all first tasks' y, and of the second ones'.
void product(Context &ctx) {
  gemm(ctx, {.m = kM, .n = kN, .k = kK}, ctx.slot<float>(kX), ctx.input<float>(0),
       ctx.slot<float>(kY));
  addStrided(ctx, {kM * kN}, ctx.slot<float>(kY), {1}, ctx.grad(0), {1}, ctx.beta());
}
void productOfTwo(Context &ctx) {
  product(ctx);
  gemm(ctx, {.m = kM, .n = kN, .k = kK}, ctx.second.slot<float>(kX), ctx.second.input<float>(0),
       ctx.second.slot<float>(kY));
  addStrided(ctx, {kM * kN}, ctx.second.slot<float>(kY), {1}, ctx.grad(kM * kN), {1},
             ctx.second.beta());
}

struct Outcome {
  Floats grads;
  int64_t captured, launched;
};

/// Three steps of micro-batches 0 to 3 in three slots, each with its own values.
Outcome run(bool asGraphs, bool two) {
  Context ctx(1);
  ctx.grads = DeviceBlock(2 * kM * kN * 4);
  DeviceBlock slots(3 * kSlot), inputs(2 * kK * kN * 4);
  const void *places[2] = {inputs.data(), inputs.data() + kK * kN * 4};
  ctx.inputs = places;
  ctx.second.inputs = places + 1;
  Floats sums;
  for (int step = 0; step < 3; ++step) {
    for (int micro = 0; micro < 4; ++micro) {
      const int seed = 10 * step + micro;
      auto set = [&](TaskState &task, int slot, int number, int salt) {
        task.kept = slots.data() + slot * kSlot;
        task.microBatch = number;
        const Floats x = random(kM * kK, seed + salt), w = random(kK * kN, seed + salt + 100);
        std::copy(x.begin(), x.end(), task.slot<float>(kX));
        send(ctx, const_cast<void *>(task.inputs[0]), w.data(), kK * kN * 4);
      };
      set(ctx, micro % 3, micro, 0);
      ctx.second.kept = nullptr;
      if (two)
        set(ctx.second, (micro + 1) % 3, micro, 1000);
      const auto part = two ? productOfTwo : product;
      if (asGraphs)
        replay(ctx, part);
      else
        part(ctx);
    }
    sums.insert(sums.end(), ctx.grad(0), ctx.grad(2 * kM * kN));
  }
  return {sums, ctx.device->parts.captured(), ctx.device->parts.launched()};
}
} // namespace

TEST(Graphs, GiveTheNumbersOfPlainRuns) {
  for (bool two : {false, true}) {
    const Outcome plain = run(false, two), graphs = run(true, two);
    EXPECT_TRUE(plain.grads == graphs.grads) << two;
    EXPECT_EQ(plain.launched, 0);
    // All runs but the first; one for each of three slots, and one more for the first
    // micro-batch of a step.
    EXPECT_EQ(graphs.launched, 11);
    EXPECT_EQ(graphs.captured, 4);
    EXPECT_NE(plain.grads[0], 0);
    EXPECT_EQ(plain.grads[kM * kN] != 0, two);
  }
}

TEST(Graphs, AreMadeAgainWhereScratchMemoryHasMoved) {
  // A sum over rows long enough that it takes partial results there.
  static int64_t rows;
  rows = 4096;
  auto sum = [](Context &ctx) {
    reduce(ctx, ReduceKind::sum, {.dims = {rows, 8}, .over = 1u << 0}, ctx.slot<float>(0),
           ctx.grad(0));
  };
  Context ctx(1);
  ctx.grads = DeviceBlock(8 * 4);
  DeviceBlock slot(rows * 8 * 4);
  ctx.kept = slot.data();
  for (int i = 0; i < 4; ++i) {
    const Floats x = random(rows * 8, i);
    std::copy(x.begin(), x.end(), slot.as<float>());
    if (i == 2)
      ctx.scratch(int64_t(64) << 20);
    replay(ctx, sum);
    const Floats got(ctx.grad(0), ctx.grad(8));
    sum(ctx);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), ctx.grad(0))) << i;
    EXPECT_EQ(ctx.device->parts.captured(), i == 0 ? 0 : 1);
  }
}

TEST(Graphs, APartThatThrowsEndsItsCapture) {
  static bool throws;
  throws = false;
  auto part = [](Context &ctx) {
    fill(ctx, 8, 1.0f, ctx.grad(0));
    if (throws)
      throw RunError("as asked");
  };
  Context ctx(1);
  ctx.grads = DeviceBlock(8 * 4);
  replay(ctx, part);
  throws = true;
  EXPECT_THROW(replay(ctx, part), RunError);
  fill(ctx, 8, 2.0f, ctx.grad(0)); // done at once again
  EXPECT_EQ(ctx.grad(0)[7], 2);
}
