//===- StagesTest.cpp - Pipelines whose memory is a GPU's -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// By the model, which moves what is sent by NCCL as late as events allow.
//
//===----------------------------------------------------------------------===//

#include "cuda/stages.h"
#include "CommUtil.h"
#include "StagesUtil.h"
#include "cuda/link.h"
#include "moire/rt/gradients.h"

#include <algorithm>
#include <future>
#include <thread>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Flags = std::vector<std::string>;

/// The program with NCCL.
struct OnGpus : StageProgram {
  explicit OnGpus(const std::string &name) : StageProgram(placementOf(name)) {
    p.connect = linkByNccl;
  }
};

/// Two ranks of pp. body(ctx, messages): one task, two messages, one inbox.
std::vector<std::string> onTwo(const std::function<void(Context &, StageMessages &)> &body) {
  return onThreads(Mesh({{"pp", 2}}), {}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    ctx.link = linkByNccl(ctx);
    const auto messages = stageMessages(ctx, nullptr, {1, 2, 1});
    body(ctx, *messages);
    comm.barrier(comm.groupOver("pp"), "the end");
  });
}
void require(bool holds, const std::string &what) {
  if (!holds)
    throw std::runtime_error(what);
}
} // namespace

TEST(GpuStages, EveryPlacementGivesTheNumbersOfOneRank) {
  Stages t;
  for (const char *name : {"1f1b", "vw", "dual", "dual,dp=2,zero=2"}) {
    const Placement placement = placementOf(name);
    const int rounds = name == std::string("dual,dp=2,zero=2") ? 2 : 1;
    auto flags = [](int accumulate) {
      return Flags{"--steps", "3", "--accumulate", std::to_string(accumulate)};
    };
    const auto whole = StageProgram::whole(placement.stages());
    const StagesResult one = t.run(whole->p, flags(4 * rounds * placement.dp));
    ASSERT_EQ(one.code, 0) << one.err;
    std::vector<StagesResult> links;
    for (const char *link : {"host", "nccl"}) {
      SCOPED_TRACE(std::string(name) + " by " + link);
      Flags own = flags(rounds);
      own.insert(own.end(), {"--gpu-link", link});
      const OnGpus program(name);
      links.push_back(t.run(program.p, own));
      expectSame(links.back(), one, placement.rankOf.size() == 1 && placement.dp == 1);
    }
    // Whatever moves them, and at whatever time: the same bits.
    EXPECT_EQ(links[0].log, links[1].log) << name;
    EXPECT_TRUE(links[0].gradients == links[1].gradients) << name;
  }
}

// Steps that are captured once: other inputs, another rate, and the messages between them.
TEST(GpuStages, AWholeStepIsOneGraph) {
  Stages t;
  for (const char *name : {"1f1b", "vw", "dual", "1f1b,dp=2,zero=1"}) {
    SCOPED_TRACE(name);
    const OnGpus program(name);
    auto with = [&](Flags more) {
      more.insert(more.end(), {"--steps", "6", "--accumulate", "2", "--lr-schedule", "linear",
                               "--gpu-link", "nccl"});
      return t.run(program.p, more);
    };
    const StagesResult parts = with({"--graph-nodes", "0"}), whole = with({}),
                       little = with({"--graph-nodes", "3"});
    ASSERT_EQ(parts.code, 0) << parts.err;
    ASSERT_EQ(whole.code, 0) << whole.err;
    ASSERT_EQ(parts.log.size(), 6u);
    EXPECT_NE(parts.log[5]["loss"], parts.log[4]["loss"]);
    for (const StagesResult *result : {&whole, &little}) {
      EXPECT_EQ(result->log, parts.log);
      EXPECT_TRUE(result->gradients == parts.gradients);
    }
    EXPECT_NE(parts.out.find("CUDA graphs: parts of tasks, as --graph-nodes 0 asks\n"),
              std::string::npos)
        << parts.out;
    EXPECT_NE(whole.out.find("CUDA graphs: the tasks and messages of a step are one of "),
              std::string::npos)
        << whole.out;
    EXPECT_NE(little.out.find(", more than --graph-nodes 3\n"), std::string::npos) << little.out;
    // Between captured steps others that are not.
    const StagesResult evaluated =
        with({"--eval", t.data, "--eval-every", "2", "--eval-rows", "9"});
    ASSERT_EQ(evaluated.code, 0) << evaluated.err;
    std::vector<nlohmann::json> steps;
    for (const nlohmann::json &line : evaluated.log)
      if (!line.contains("eval_loss"))
        steps.push_back(line);
    EXPECT_EQ(steps, parts.log);
  }
}

TEST(GpuStages, AStepWithOtherCollectivesIsNoGraph) {
  Stages t;
  const OnGpus program("dual,dp=2,zero=2");
  const StagesResult result = t.run(program.p, {"--steps", "3", "--gpu-link", "nccl"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out.find("CUDA graphs"), std::string::npos) << result.out;
  const StagesResult refused =
      t.run(program.p, {"--steps", "3", "--gpu-link", "nccl", "--graph-nodes", "9"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(
      refused.err.find("--graph-nodes is of one rank, or of pipelines whose stages have no "
                       "collectives, and the program has 4 ranks that do; the host takes part "
                       "in their steps; leave it out"),
      std::string::npos)
      << refused.err;
}

TEST(GpuStages, AMessageIsThereOnlyForWhoFollowsIt) {
  const auto errors = onTwo([](Context &ctx, StageMessages &messages) {
    const int me = ctx.comm->rank(), other = 1 - me;
    DeviceBlock out(256), in(256);
    std::fill_n(out.as<float>(), 64, float(me + 1));
    messages.endTask(0);
    messages.freeInbox(0);
    // In one order on both sides: 0 sends first.
    for (int message : {0, 1})
      if (message == me)
        messages.send(message, "activation", other, {{out.data(), 64}, {out.data() + 64, 192}}, 0);
      else
        messages.receive(message, "activation", other, {{in.data(), 64}, {in.data() + 64, 192}}, 0);
    require(in.as<float>()[63] == 0, "it came before it was waited for");
    messages.followMessage(1);
    require(in.as<float>()[0] == float(other + 1) && in.as<float>()[63] == float(other + 1),
            "it is not there");
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

// What a program would do that forgets to wait until its message has left.
TEST(GpuStages, WhatIsWrittenBeforeAMessageLeftGoesWithIt) {
  const auto errors = onTwo([](Context &ctx, StageMessages &messages) {
    const int me = ctx.comm->rank(), other = 1 - me;
    DeviceBlock out(64), in(64);
    out.as<float>()[0] = 1;
    messages.endTask(0);
    if (me == 0)
      messages.send(0, "activation", other, {{out.data(), 64}}, 0);
    else
      messages.receive(0, "activation", other, {{in.data(), 64}}, 0);
    out.as<float>()[0] = 2;
    messages.followMessage(0);
    require(me == 0 || in.as<float>()[0] == 2, "it left early");
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(GpuStages, ARankThatLeavesEndsThoseThatWaitForItsMessage) {
  const auto begin = std::chrono::steady_clock::now();
  // Rank 0 is past what both do before any message.
  std::promise<void> waits;
  const auto errors = onTwo([&](Context &ctx, StageMessages &messages) {
    if (ctx.comm->rank() == 1) {
      waits.get_future().wait();
      throw std::runtime_error("left");
    }
    waits.set_value();
    DeviceBlock in(64);
    messages.receive(0, "activation of stage 0, micro-batch 3", 1, {{in.data(), 64}}, 0);
    messages.followMessage(0);
  });
  EXPECT_EQ(errors[0], "rank 1 of 2 is lost in activation of stage 0, micro-batch 3: it stopped "
                       "with \"left\"");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(GpuStages, MessagesOfAnotherLengthAreTold) {
  const auto errors = onTwo([](Context &ctx, StageMessages &messages) {
    DeviceBlock memory(128);
    messages.endTask(0);
    if (ctx.comm->rank() == 0)
      messages.send(0, "activation", 1, {{memory.data(), 64}}, 0);
    else
      messages.receive(0, "activation", 0, {{memory.data(), 128}}, 0);
    messages.followMessage(0);
  });
  EXPECT_NE(errors[1].find("rank 0 sends 64 bytes, 128 were expected"), std::string::npos)
      << errors[1];
}

TEST(GpuStages, AStageThatFailsEndsAllWithItsWords) {
  Stages t;
  for (const char *link : {"host", "nccl"})
    for (const char *where : {"0,2", "1,2"}) {
      const auto begin = std::chrono::steady_clock::now();
      setenv("FAIL", where, 1);
      const OnGpus program("v");
      const StagesResult r = t.run(program.p, {"--steps", "3", "--gpu-link", link});
      unsetenv("FAIL");
      EXPECT_EQ(r.code, 2);
      EXPECT_NE(r.err.find("error: a stage fails as asked\n"), std::string::npos) << r.err;
      EXPECT_EQ(r.log.size(), 1u);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(7)) << link;
    }
}

TEST(GpuStages, CopiesAreAddedInTheirOrder) {
  // On each of three ranks a copy of two parameters, one of which begins at no whole line.
  constexpr int64_t kLong = 3000017, kShort = 33, kAll = kLong + 15 + kShort;
  const int64_t longShape[] = {kLong}, shortShape[] = {kShort};
  const CopyInfo copiesOfLong[] = {{0, 0, 0, 0}, {0, 1, 1, 0}, {0, 2, 2, 0}},
                 copiesOfShort[] = {
                     {0, 0, 2, kLong + 15}, {0, 1, 0, kLong + 15}, {0, 2, 1, kLong + 15}};
  ParameterInfo parameters[2] = {};
  for (ParameterInfo &p : parameters) {
    p.rank = 1;
    p.trainable = p.counted = true;
    p.reduceGroup = p.shardGroup = p.gradOffset = -1;
    p.numCopies = 3;
  }
  parameters[0].shape = longShape;
  parameters[0].copies = copiesOfLong;
  parameters[1].shape = shortShape;
  parameters[1].copies = copiesOfShort;
  parameters[1].index = 1;
  parameters[1].offset = kLong + 15;
  PipelineRankInfo ranks[3] = {};
  for (PipelineRankInfo &rank : ranks) {
    rank.gradElements = kAll;
    rank.numParameters = 2;
    rank.parameters = parameters;
  }
  PipelineInfo pipeline = {};
  pipeline.numRanks = 3;
  pipeline.ranks = ranks;
  Program whole = {};
  whole.pipeline = &pipeline;
  // Magnitudes so far apart that every other order gives other bits.
  Floats grads[3] = {random(kAll, 1), random(kAll, 2), random(kAll, 3)}, want(kAll);
  for (float &g : grads[0])
    g *= 1e4f;
  for (int64_t i = 0; i < kLong; ++i) {
    const float two = grads[0][i] + grads[1][i];
    want[i] = two + grads[2][i];
  }
  for (int64_t i = kLong + 15; i < kAll; ++i) {
    const float two = grads[2][i] + grads[0][i];
    want[i] = two + grads[1][i];
  }
  for (bool nccl : {false, true}) {
    Floats got[3];
    const auto errors = onThreads(Mesh({{"pp", 3}}), {}, [&](Comm &comm) {
      const int rank = comm.rank();
      const Program own = programOfRank(whole, rank);
      Context ctx(own, 1);
      ctx.comm = &comm;
      ctx.link = nccl ? linkByNccl(ctx) : linkThroughHost();
      std::copy(grads[rank].begin(), grads[rank].end(), ctx.grad(0));
      sumCopies(ctx);
      got[rank].assign(ctx.grad(0), ctx.grad(0) + kAll);
      comm.barrier(comm.groupOver("pp"), "the end");
    });
    EXPECT_EQ(errors, std::vector<std::string>(3));
    for (const Floats &g : got) {
      ASSERT_EQ(g.size(), want.size());
      EXPECT_TRUE(std::equal(want.begin(), want.begin() + kLong, g.begin()));
      EXPECT_TRUE(std::equal(want.begin() + kLong + 15, want.end(), g.begin() + kLong + 15));
    }
  }
}
