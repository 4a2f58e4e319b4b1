//===- GraphsTest.cpp - Parts of functions and steps as graphs -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/graphs.h"
#include "TestUtil.h"
#include "cuda/model/jobs.h"
#include "cuda/model/stream.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"
#include "moire/rt/loss.h"
#include "moire/rt/optimizer.h"

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

TEST(Graphs, EachStageThatRunsAFunctionHasItsOwn) {
  const StageParameter own[2] = {{0, 0, -1}, {8, 16, -1}};
  auto part = [](Context &ctx) {
    addStrided(ctx, {8}, ctx.param(ctx.own[0].param), {1}, ctx.grad(ctx.own[0].grad), {1}, 1.0f);
  };
  Context ctx(1);
  ctx.params = DeviceBlock(16 * 4);
  ctx.grads = DeviceBlock(24 * 4);
  const Floats values = random(16, 1);
  std::copy(values.begin(), values.end(), ctx.param(0));
  fill(ctx, 24, 0.0f, ctx.grad(0));
  for (int run = 0; run < 6; ++run) {
    ctx.own = run % 2 ? own + 1 : own;
    replay(ctx, part);
  }
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(ctx.grad(0)[i], values[i] + values[i] + values[i]);
    EXPECT_EQ(ctx.grad(16)[i], values[8 + i] + values[8 + i] + values[8 + i]);
  }
  EXPECT_EQ(ctx.device->parts.captured(), 2);
}

TEST(Graphs, AreMadeAgainWhereOtherGroupsAreTrained) {
  auto part = [](Context &ctx) {
    addStrided(ctx, {8}, ctx.param(0), {1}, ctx.grad(0), {1}, 1.0f);
    if (ctx.updates & 1) // with scratch memory that the other statements do not need
      reduce(ctx, ReduceKind::sum, {.dims = {4096, 8}, .over = 1u << 0}, ctx.slot<float>(0),
             ctx.grad(8));
  };
  Context ctx(1);
  ctx.params = DeviceBlock(8 * 4);
  ctx.grads = DeviceBlock(16 * 4);
  DeviceBlock slot(4096 * 8 * 4);
  ctx.kept = slot.data();
  fill(ctx, 8, 1.0f, ctx.param(0));
  fill(ctx, 16, 0.0f, ctx.grad(0));
  fill(ctx, 4096 * 8, 1.0f, slot.as<float>());
  const uint64_t masks[] = {0, 0, 1, 1, 1, 0, 0};
  int run = 0;
  for (uint64_t mask : masks) {
    ctx.updates = mask;
    fill(ctx, 8, 0.0f, ctx.grad(8));
    replay(ctx, part);
    EXPECT_EQ(ctx.grad(0)[7], float(++run));
    EXPECT_EQ(ctx.grad(8)[7], mask ? 4096.0f : 0.0f) << run;
  }
  EXPECT_EQ(ctx.device->parts.launched(), 4) << "all but the first after each change";
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

// What CUDA says of streams that a capture does not have, or has and does not get back.
TEST(Graphs, TheModelKnowsWhichStreamsACaptureHas) {
  struct Add final : model::Work {
    explicit Add(int *to) : to(to) {}
    bool advance() override { return ++*to; }
    int *to;
  };
  cudaStream_t side = nullptr;
  cudaEvent_t before = nullptr, begin = nullptr, end = nullptr;
  ASSERT_EQ(cudaStreamCreateWithPriority(&side, 0, 0), cudaSuccess);
  for (cudaEvent_t *event : {&before, &begin, &end})
    ASSERT_EQ(cudaEventCreateWithFlags(event, 0), cudaSuccess);
  int count = 0;
  auto give = [&] { side->give(std::make_shared<Add>(&count)); };
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaEventRecord(before, nullptr), cudaSuccess);

  cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed);
  EXPECT_FALSE(model::noteNode(side, give)) << "it follows nothing that is captured";
  EXPECT_EQ(cudaStreamWaitEvent(nullptr, before), cudaErrorStreamCaptureIsolation);
  cudaEventRecord(begin, nullptr);
  EXPECT_EQ(cudaStreamWaitEvent(side, begin), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(side, before), cudaErrorStreamCaptureIsolation);
  EXPECT_TRUE(model::noteNode(side, give));
  cudaEventRecord(end, side);
  EXPECT_EQ(cudaStreamWaitEvent(nullptr, end), cudaSuccess);
  EXPECT_TRUE(model::noteNode(side, give)); // for which nobody waits
  EXPECT_EQ(cudaStreamEndCapture(nullptr, &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);

  cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed);
  cudaEventRecord(begin, nullptr);
  cudaStreamWaitEvent(side, begin);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(model::noteNode(side, give));
  cudaEventRecord(end, side);
  cudaStreamWaitEvent(nullptr, end);
  ASSERT_EQ(cudaStreamEndCapture(nullptr, &graph), cudaSuccess);
  EXPECT_EQ(nodesOf(graph), 3);
  EXPECT_EQ(count, 0);
  for (int launch = 1; launch <= 2; ++launch) {
    cudaGraphLaunch(graph, nullptr);
    EXPECT_EQ(count, 3 * launch);
  }
  cudaGraphDestroy(graph);
  for (cudaEvent_t event : {before, begin, end})
    cudaEventDestroy(event);
  cudaStreamDestroy(side);
}

//===----------------------------------------------------------------------===//
// Steps of one rank
//===----------------------------------------------------------------------===//

namespace {
constexpr int64_t kSize = 48, kMicros = 3;
const int64_t kShape[] = {kSize};

/// The gradient is the input plus the parameter; the loss is the gradient's first element.
void addInput(Context &ctx) {
  if (ctx.updates & 1)
    addStrided(ctx, {kSize}, ctx.input<float>(0), {1}, ctx.grad(kSize), {1}, ctx.beta());
  addStrided(ctx, {kSize}, ctx.input<float>(0), {1}, ctx.grad(0), {1}, ctx.beta());
  addStrided(ctx, {kSize}, ctx.param(0), {1}, ctx.grad(0), {1}, 1.0f);
  loss(ctx, ctx.grad(0));
}

struct Steps {
  Floats losses, params, rested;
  std::string graphs;
  int64_t launched;
};

using Micros = std::vector<int64_t>;
Micros always(int64_t micros) { return Micros(5, micros); }

/// Five steps of so many micro-batches, all with other inputs. As trainers do; limit: nodes of a
/// whole step.
Steps runSteps(int64_t limit, const Micros &ofSteps = always(kMicros),
               const std::vector<uint64_t> &masks = {0, 0, 0, 0, 0}) {
  ParameterInfo param = {"w", "w", 1, kShape, true, Init::zeros, 0, 0, 0, nullptr};
  ParameterInfo rests = {"r", "r", 1, kShape, true, Init::zeros, 0, kSize, 0, nullptr};
  rests.updateGroup = 0;
  const ParameterInfo params[] = {param, rests};
  const char *const group = "r";
  InputInfo input = {"x", DType::f32, 1, kShape, Role::other, 0};
  Program p = {};
  p.optimizer = OptimizerKind::sgd;
  p.paramElements = p.gradElements = 2 * kSize;
  p.numParameters = 2;
  p.parameters = params;
  p.numUpdateGroups = 1;
  p.updateGroups = &group;
  p.numInputs = 1;
  p.inputs = &input;
  p.microStep = addInput;
  Context ctx(p, 1);
  const Floats w = random(kSize, 7);
  std::copy(w.begin(), w.end(), ctx.param(0));
  Steps result;
  for (int step = 1; step <= 5; ++step) {
    ctx.hyper.lr = 0.1 / step;
    ctx.hyper.step = step;
    ctx.updates = masks[step - 1];
    const int64_t micros = ctx.microBatches = ofSteps[step - 1];
    beginStep(ctx);
    auto set = [&](TaskState &task) {
      const Floats x = random(kSize, 100 * step + int(task.microBatch));
      setInput(ctx, task, 0, x.data(), kSize * 4);
    };
    if (!runWholeStep(ctx, limit, set))
      for (int64_t micro = 0; micro < micros; ++micro) {
        ctx.microBatch = micro;
        set(ctx);
        runMicroStep(ctx, micro + 1 == micros);
      }
    result.losses.push_back(float(outcomeOfStep(ctx).loss));
  }
  result.params.assign(ctx.param(0), ctx.param(kSize));
  result.rested.assign(ctx.param(kSize), ctx.param(2 * kSize));
  result.graphs = describeGraphs(ctx);
  result.launched = ctx.device->steps.launched();
  return result;
}

/// The same by hand.
Steps computed(const Micros &ofSteps) {
  Steps result;
  result.params = random(kSize, 7);
  for (int step = 1; step <= 5; ++step) {
    Floats grad(kSize);
    float sum = 0;
    for (int64_t micro = 0; micro < ofSteps[step - 1]; ++micro) {
      const Floats x = random(kSize, 100 * step + int(micro));
      for (int64_t i = 0; i < kSize; ++i)
        grad[i] += x[i] + result.params[i];
      sum += grad[0];
    }
    result.losses.push_back(sum);
    for (int64_t i = 0; i < kSize; ++i)
      result.params[i] -= 0.1f / float(step) * grad[i];
  }
  return result;
}
} // namespace

TEST(StepGraphs, AWholeStepGivesTheNumbersOfItsMicroBatches) {
  const Steps want = computed(always(kMicros)), micro = runSteps(0), whole = runSteps(-1);
  EXPECT_TRUE(whole.losses == micro.losses);
  EXPECT_TRUE(whole.params == micro.params);
  expectNear(whole.losses, Doubles(want.losses.begin(), want.losses.end()), 1e-5);
  expectNear(whole.params, Doubles(want.params.begin(), want.params.end()), 1e-6);
  EXPECT_EQ(whole.launched, 4) << "all steps but the first";
  EXPECT_EQ(micro.launched, 12) << "all micro-batches but the first of each kind";
  EXPECT_EQ(micro.graphs, "each micro-batch is one, as --graph-nodes 0 asks");
}

TEST(StepGraphs, AreMadeAgainWhereOtherGroupsAreTrained) {
  const std::vector<uint64_t> masks = {0, 0, 1, 1, 0};
  const Steps without = runSteps(-1);
  EXPECT_TRUE(without.rested == Floats(kSize));
  for (int64_t micros : {kMicros, int64_t(1)}) {
    const Steps whole = runSteps(-1, always(micros), masks), want = computed(always(micros));
    expectNear(whole.params, Doubles(want.params.begin(), want.params.end()), 1e-6);
    // In steps 3 and 4 alone its gradient is the sum of inputs.
    Doubles rested(kSize);
    for (int step : {3, 4})
      for (int64_t micro = 0; micro < micros; ++micro) {
        const Floats x = random(kSize, 100 * step + int(micro));
        for (int64_t i = 0; i < kSize; ++i)
          rested[i] -= 0.1 / step * x[i];
      }
    expectNear(whole.rested, rested, 1e-6);
    EXPECT_EQ(whole.launched, 2) << "steps 2 and 4: others are the first of their kind";
  }
}

TEST(StepGraphs, EachNumberOfMicroBatchesOfARampHasItsOwn) {
  const Micros ramp = {2, 2, 3, 3, 2};
  const Steps want = computed(ramp), micro = runSteps(0, ramp), whole = runSteps(-1, ramp);
  EXPECT_TRUE(whole.losses == micro.losses);
  EXPECT_TRUE(whole.params == micro.params);
  expectNear(whole.params, Doubles(want.params.begin(), want.params.end()), 1e-6);
  EXPECT_EQ(whole.launched, 3) << "all steps but the first of each number";
  EXPECT_EQ(whole.graphs.rfind("a step of 2 micro-batches is one of ", 0), 0u) << whole.graphs;
}

TEST(StepGraphs, TheLimitIsInNodes) {
  const std::string whole = runSteps(-1).graphs, head = "a step of 3 micro-batches is one of ";
  ASSERT_EQ(whole.substr(0, head.size()), head);
  const int64_t nodes = std::stoll(whole.substr(head.size()));
  EXPECT_GT(nodes, 3 * 3) << "three statements of each, and the update";
  EXPECT_EQ(runSteps(nodes).graphs, whole);
  const Steps less = runSteps(nodes - 1), little = runSteps(3 * 3 - 1), micro = runSteps(0);
  EXPECT_EQ(less.graphs, "each micro-batch is one; a step would have " + std::to_string(nodes) +
                             " nodes, more than --graph-nodes " + std::to_string(nodes - 1));
  EXPECT_EQ(little.graphs,
            "each micro-batch is one; a step would have some 9 nodes, more than --graph-nodes 8");
  for (const Steps *steps : {&less, &little}) {
    EXPECT_TRUE(steps->params == micro.params);
    EXPECT_TRUE(steps->losses == micro.losses);
  }
}

TEST(StepGraphs, AStepOfOneMicroBatchIsOneAnyway) {
  const Steps one = runSteps(0, always(1));
  const Steps want = computed(always(1));
  expectNear(one.params, Doubles(want.params.begin(), want.params.end()), 1e-6);
  EXPECT_EQ(one.graphs.substr(0, 15), "a step is one o");
  EXPECT_EQ(one.launched, 4);
}
