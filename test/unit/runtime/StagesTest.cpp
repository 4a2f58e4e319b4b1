//===- StagesTest.cpp - The trainer's pipelines against one rank ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CommUtil.h"
#include "Processes.h"
#include "StagesUtil.h"
#include "moire/rt/comm.h"
#include "moire/rt/gradients.h"

#include <algorithm>
#include <sstream>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
const std::string kProgram = RANK_PROGRAM;
using Result = StagesResult;
} // namespace

TEST(Stages, EveryPlacementGivesTheNumbersOfOneRank) {
  Stages t;
  for (const char *name :
       {"1f1b", "v", "vw", "dual", "v,dp=2", "1f1b,dp=2,zero=1", "dual,dp=2,zero=2"})
    for (int rounds : {1, 2}) {
      if (rounds == 2 && std::string(name) != "1f1b" && std::string(name) != "dual,dp=2,zero=2")
        continue;
      SCOPED_TRACE(std::string(name) + " rounds " + std::to_string(rounds));
      const Placement placement = placementOf(name);
      auto flags = [](int accumulate) {
        return std::vector<std::string>{"--steps", "3", "--accumulate", std::to_string(accumulate)};
      };
      const auto whole = StageProgram::whole(placement.stages());
      const Result one = t.run(whole->p, flags(4 * rounds * placement.dp));
      ASSERT_EQ(one.code, 0) << one.err;
      ASSERT_GT(double(one.log[0]["grad_norm"]), 0.5); // it is clipped
      ASSERT_EQ(one.gradients.size(), size_t(placement.stages()) + 1);
      const StageProgram program(placement);
      const Result many = t.run(program.p, flags(rounds));
      // Of one path and one shard, matrices' gradients are added up as on one rank.
      expectSame(many, one, placement.rankOf.size() == 1 && placement.dp == 1);
      if (rounds == 1)
        continue;
      // And from run to run the same bits.
      const Result again = t.run(program.p, flags(rounds));
      EXPECT_EQ(again.log, many.log);
      EXPECT_TRUE(again.gradients == many.gradients);
    }
}

TEST(Stages, WhatIsPublishedLeavesBeforeItsFunctionEnds) {
  Stages t;
  const StageProgram program(placementOf("1f1b"));
  const std::vector<std::string> flags = {"--steps", "2", "--accumulate", "1"};
  const Result free = t.run(program.p, flags);
  ASSERT_EQ(free.code, 0) << free.err;
  setenv("HOLD", "1", 1);
  const Result held = t.run(program.p, flags);
  unsetenv("HOLD");
  ASSERT_EQ(held.code, 0) << held.err;
  EXPECT_EQ(held.log, free.log);
  EXPECT_TRUE(held.gradients == free.gradients);
}

TEST(Ramp, StepsHaveTheirMicroBatches) {
  const RampInfo ramp[] = {{2, 0, 1}, {4, 3, 0}, {2, 5, 1}};
  Program p = {};
  EXPECT_EQ(mostMicroBatches(p), 1);
  EXPECT_EQ(microBatchesOfSteps(p, 7), 7);
  p.ramp = ramp;
  p.numRamp = 3;
  EXPECT_EQ(mostMicroBatches(p), 4);
  int64_t sum = 0;
  const int64_t counts[] = {2, 2, 2, 4, 4, 2, 2}, rounds[] = {1, 1, 1, 0, 0, 1, 1};
  for (int64_t done = 0; done < 7; ++done) {
    const RoundOfStep step = roundAfter(p, done);
    EXPECT_EQ(step.microBatches, counts[done]) << done;
    EXPECT_EQ(step.round, rounds[done]) << done;
    EXPECT_EQ(microBatchesOfSteps(p, done), sum) << done;
    sum += counts[done];
  }
}

TEST(Ramp, DataGoesOnWhereTheLastStepEnded) {
  Stages t;
  const auto whole = StageProgram::whole(2);
  auto lossesOf = [&](const std::vector<RampInfo> &ramp, int accumulate, int steps) {
    whole->p.ramp = ramp.data();
    whole->p.numRamp = int64_t(ramp.size());
    const Result r = t.run(whole->p, {"--steps", std::to_string(steps), "--accumulate",
                                      std::to_string(accumulate), "--lr", "0"});
    EXPECT_EQ(r.code, 0) << r.err;
    std::vector<double> losses;
    for (const auto &line : r.log)
      losses.push_back(line["loss"]);
    return std::pair(losses, r);
  };
  // Micro-batches 0, 1 and 2, 3, then 4 to 7 and 8 to 11.
  const auto two = lossesOf({}, 2, 2).first, four = lossesOf({}, 4, 3).first;
  const auto [ramp, r] = lossesOf({{2, 0, 0}, {4, 2, 0}}, 1, 4);
  EXPECT_EQ(ramp, (std::vector<double>{two[0], two[1], four[1], four[2]}));
  const int64_t row = StageProgram::kBatch * StageProgram::kSeq;
  EXPECT_EQ(r.log[1]["tokens"], 2 * row);
  EXPECT_EQ(r.log[2]["tokens"], 4 * row);
  EXPECT_NE(r.out.find("batch ramp: 2 micro-batches of a rank from step 1 on, 4 micro-batches of a "
                       "rank from step 3 on\n"),
            std::string::npos)
      << r.out;
  // Rounds of a ramp.
  EXPECT_EQ(lossesOf({{1, 0, 0}, {2, 2, 0}}, 2, 4).first, ramp);
}

TEST(Stages, CopiesAreAddedInTheirOrder) {
  // A parameter on both of two ranks, so long that its copies move in several parts, and one
  // that the second rank alone has, with two copies.
  constexpr int64_t kLong = 3000017, kShort = 33;
  const int64_t longShape[] = {kLong}, shortShape[] = {kShort};
  const CopyInfo copiesOfLong[] = {{0, 0, 0, 0}, {0, 1, 1, kLong + 15}, {1, 0, 1, 0}},
                 copiesOfShort[] = {{0, 0, 1, 2 * kLong + 30}, {1, 0, 1, 2 * kLong + 90}};
  ParameterInfo parameters[2] = {};
  for (ParameterInfo &p : parameters) {
    p.rank = 1;
    p.trainable = p.counted = true;
    p.reduceGroup = p.shardGroup = -1;
  }
  parameters[0].shape = longShape;
  parameters[0].numCopies = 3;
  parameters[0].copies = copiesOfLong;
  parameters[1].shape = shortShape;
  parameters[1].index = 1;
  parameters[1].numCopies = 2;
  parameters[1].copies = copiesOfShort;
  parameters[1].gradOffset = 2 * kLong + 90; // that of the second copy
  const int64_t elements[2] = {kLong, 2 * kLong + 150};
  PipelineRankInfo ranks[2] = {};
  for (int r = 0; r < 2; ++r) {
    ranks[r].gradElements = elements[r];
    ranks[r].numParameters = r + 1;
    ranks[r].parameters = parameters;
  }
  PipelineInfo pipeline = {};
  pipeline.numRanks = 2;
  pipeline.ranks = ranks;
  Program whole = {};
  whole.pipeline = &pipeline;
  // Magnitudes so far apart that every other order gives other bits.
  Floats grads[2] = {random(elements[0], 1), random(elements[1], 2)}, got[2];
  for (float &g : grads[0])
    g *= 1e4f;
  const auto errors = onThreads(Mesh({{"pp", 2}}), {}, [&](Comm &comm) {
    const int rank = comm.rank();
    const Program own = programOfRank(whole, rank);
    Context ctx(own, 1);
    ctx.comm = &comm;
    std::copy(grads[rank].begin(), grads[rank].end(), ctx.grad(0));
    sumCopies(ctx);
    got[rank].assign(ctx.grad(0), ctx.grad(0) + elements[rank]);
  });
  EXPECT_EQ(errors[0] + errors[1], "");
  Floats sum(kLong), small(kShort);
  for (int64_t i = 0; i < kLong; ++i) {
    const float two = grads[0][i] + grads[1][kLong + 15 + i];
    sum[i] = two + grads[1][i];
  }
  for (int64_t i = 0; i < kShort; ++i)
    small[i] = grads[1][2 * kLong + 30 + i] + grads[1][2 * kLong + 90 + i];
  EXPECT_TRUE(std::equal(sum.begin(), sum.end(), got[0].begin()));
  EXPECT_TRUE(std::equal(sum.begin(), sum.end(), got[1].begin()));
  EXPECT_TRUE(std::equal(small.begin(), small.end(), got[1].begin() + 2 * kLong + 90));
}

TEST(Stages, ProcessesGiveTheBitsOfThreads) {
  Stages t;
  for (const char *name : {"v", "dual"}) {
    SCOPED_TRACE(name);
    const Result threads = t.run(StageProgram(placementOf(name)).p, {"--steps", "3"});
    ASSERT_EQ(threads.code, 0) << threads.err;
    t.clean();
    auto arguments = t.arguments({kProgram, "stages:" + std::string(name), "--steps", "3"});
    Processes p(arguments, 2, 2, freePort());
    for (const Processes::Ended &end : p.wait(30))
      EXPECT_EQ(end.code, 0) << end.err;
    Result processes;
    t.readInto(processes);
    EXPECT_EQ(processes.log, threads.log);
    EXPECT_TRUE(processes.gradients == threads.gradients);
  }
}

TEST(Stages, OpenMpiGivesTheBitsOfThreads) {
  if (std::system("command -v mpirun >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "there is no mpirun";
  Stages t;
  const Result threads = t.run(StageProgram(placementOf("v")).p, {"--steps", "3"});
  ASSERT_EQ(threads.code, 0) << threads.err;
  t.clean();
  Processes p({}, 0, 0, 0);
  p.start(t.arguments({"mpirun", "-n", "2", "--oversubscribe", "--allow-run-as-root", kProgram,
                       "stages:v", "--steps", "3"}),
          0, 0, 0, {});
  const Processes::Ended end = p.wait(60)[0];
  EXPECT_EQ(end.code, 0) << end.err;
  Result processes;
  t.readInto(processes);
  EXPECT_EQ(processes.log, threads.log);
  EXPECT_TRUE(processes.gradients == threads.gradients);
}

TEST(Stages, TooFewInboxesAreTold) {
  Stages t;
  Placement placement = placementOf("v");
  placement.inboxes = 0;
  const Result r = t.run(StageProgram(placement).p, {"--steps", "2"});
  EXPECT_EQ(r.code, 2);
  // Rank 1's first message comes in; stage 1 of rank 1 is never done.
  EXPECT_EQ(r.err, "error: none of the 0 inboxes of rank 1 of pp is free for the activation of "
                   "stage 0, micro-batch 0; compile the model again\n");
}

TEST(Stages, TablesThatContradictThemselvesAreTold) {
  Stages t;
  // The second rank's table of tasks ends before its last backward.
  StageProgram program(placementOf("1f1b"));
  PipelineInfo cut = *program.p.pipeline;
  std::vector<PipelineRankInfo> ranks(cut.ranks, cut.ranks + 2);
  RankRoundInfo round = ranks[1].rounds[0];
  --round.numTasks;
  ranks[1].rounds = &round;
  cut.ranks = ranks.data();
  program.p.pipeline = &cut;
  const Result r = t.run(program.p, {"--steps", "2"});
  EXPECT_EQ(r.code, 2);
  EXPECT_EQ(r.err, "error: the program's pipeline contradicts itself: rank 1 of pp has no task for "
                   "the cotangent of stage 1, micro-batch 3; compile the model again\n");
}

TEST(Stages, AStageThatFailsEndsAllWithItsWords) {
  Stages t;
  setenv("FAIL", "1,2", 1);
  const Result r = t.run(StageProgram(placementOf("v")).p, {"--steps", "3"});
  unsetenv("FAIL");
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("error: a stage fails as asked\n"), std::string::npos) << r.err;
  EXPECT_EQ(r.log.size(), 1u);
}

TEST(Stages, AKilledProcessEndsAllOthersWithItsSentence) {
  Stages t;
  std::mt19937 gen(9);
  std::string said;
  for (int run = 0; run < 4; ++run) {
    Processes p(t.arguments({kProgram, "stages:v", "--steps", "10000000", "--comm-timeout", "1"}),
                2, 2, freePort());
    p.awaitText(0, "step 1/");
    std::this_thread::sleep_for(std::chrono::milliseconds(gen() % 40));
    const int dead = run % 2;
    p.signal(dead, SIGKILL);
    const auto ends = p.wait(5);
    const Processes::Ended &other = ends[1 - dead];
    EXPECT_EQ(other.code, 2) << other.err;
    const size_t at = other.err.find("error: ");
    ASSERT_NE(at, std::string::npos) << other.err;
    const std::string text = other.err.substr(at);
    EXPECT_EQ(text.rfind("error: rank " + std::to_string(dead) + " of 2 is lost in ", 0), 0u)
        << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    said += text;
  }
  // Where it died decides in which; most of the time one waits for the other's stage.
  EXPECT_NE(said.find("of stage "), std::string::npos) << said;
}

TEST(Stages, VirtualTimeIsRefused) {
  Stages t;
  const Result r = t.run(StageProgram(placementOf("v")).p, {"--steps", "2", "--virtual-time"});
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "error: --virtual-time does not count messages between stages, and the program "
                   "has the mesh pp=2,dp=1; leave it out, or use moire-run --virtual-time\n");
}
