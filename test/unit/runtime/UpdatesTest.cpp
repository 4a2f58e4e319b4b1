//===- UpdatesTest.cpp - Groups of parameters that rest ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/updates.h"
#include "CheckpointUtil.h"
#include "RankProgram.h"
#include "train/safetensors.h"

#include <map>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Plan {
  const char *mesh;
  int zero, accumulate;
};
const Plan kPlans[] = {{"dp=1", 0, 4}, {"dp=2", 0, 2},      {"dp=2", 1, 2},
                       {"dp=2", 2, 2}, {"dp=2", 3, 2},      {"ep=2", 3, 2},
                       {"tp=2", 0, 4}, {"dp=2,ep=2", 1, 1}, {"dp=2,ep=2,tp=2", 3, 1}};

using Weights = std::map<std::string, Floats>;
Weights weightsOf(const std::string &checkpoint) {
  Weights all;
  const Safetensors file(checkpoint + "/weights.safetensors");
  for (auto &[name, t] : file.tensors()) {
    all[name].resize(t.elements());
    std::memcpy(all[name].data(), t.data.data, t.elements() * 4);
  }
  return all;
}

std::vector<std::string> flagsOf(const Plan &plan, std::vector<std::string> more) {
  more.insert(more.end(),
              {"--accumulate", std::to_string(plan.accumulate), "--lr", "0.02", "--clip", "0.3"});
  return more;
}

std::string refusal(const std::string &text, const Program &p) {
  try {
    parseUpdateSchedule(text, p);
  } catch (const InputError &e) {
    return e.what();
  }
  return "none";
}
} // namespace

TEST(Updates, WhatAScheduleSays) {
  RankProgram program("");
  program.makeGroups();
  const auto phases = parseUpdateSchedule("table@0,table+experts@5,none@7,all@9", program.p);
  ASSERT_EQ(phases.size(), 4u);
  const uint64_t masks[] = {1, 3, 0, 3};
  const int64_t after[] = {0, 5, 7, 9};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(phases[i].groups, masks[i]);
    EXPECT_EQ(phases[i].after, after[i]);
  }
  for (const auto &[text, want] : std::map<std::string, std::string>{
           {"", "is empty"},
           {"table", "has 'table'; use GROUPS@STEPS"},
           {"@0", "has '@0'; use"},
           {"table@x", "has 'table@x'; use"},
           {"table@-1", "has 'table@-1'; use"},
           {"table@0,all@2x", "has 'all@2x'; use"},
           {"table@3", "begins with 'table@3'"},
           {"table@0,all@4,none@4", "'none@4' behind an entry of step 4; steps must ascend"},
           {"tabel@0", "the program's groups are table, experts"},
           {"table+@0", "has 'table+@0', and the program's groups"},
           {"table@0,", "has ''; use"},
           {"table@ 0", "has 'table@ 0'; use"},
           {"table@0,all@99999999999999999999", "has 'all@99999999999999999999'; use"},
           {"table@0,x@1", "has 'x@1'"}})
    EXPECT_NE(refusal(text, program.p).find(want), std::string::npos)
        << text << ": " << refusal(text, program.p);
  program.params[1].updateGroup = 0; // none is left that always trains
  EXPECT_NE(refusal("table@0,none@3", program.p).find("trains nothing"), std::string::npos);
}

// Who rests stays as it is to the bit, and every plan does the same steps.
TEST(Updates, EveryPlanFollowsTheSchedule) {
  CheckpointRuns t;
  const std::vector<std::string> schedule = {"--update-schedule", "table@0,none@2,experts@3,all@5"};
  std::vector<nlohmann::json> first;
  Weights firstWeights;
  int number = 0;
  for (const Plan &plan : kPlans) {
    SCOPED_TRACE(testing::Message() << plan.mesh << " zero " << plan.zero);
    RankProgram program(plan.mesh, plan.zero);
    program.makeGroups();
    auto flags = [&](const std::string &folder, int steps) {
      auto all = flagsOf(plan, {"--steps", std::to_string(steps), "--checkpoint", t.dir / folder,
                                "--checkpoint-every", "1", "--keep", "9"});
      all.insert(all.end(), schedule.begin(), schedule.end());
      return all;
    };
    const std::string folder = "plan" + std::to_string(number++);
    const CheckpointRun run = t.run(program.p, flags(folder, 7));
    ASSERT_EQ(run.code, 0) << run.err;
    ASSERT_EQ(run.log.size(), 7u);
    for (const char *line : {"step 1: trains table, what is in no group; rests: experts",
                             "step 3: trains what is in no group; rests: table, experts",
                             "step 4: trains experts, what is in no group; rests: table",
                             "step 6: trains table, experts, what is in no group\n"})
      EXPECT_NE(run.out.find(line), std::string::npos) << run.out;
    std::vector<Weights> after;
    for (int step = 1; step <= 7; ++step)
      after.push_back(weightsOf(t.dir / (folder + "/step-0000000" + std::to_string(step))));
    for (int step = 2; step <= 7; ++step)
      for (auto &[name, values] : after[step - 1]) {
        const bool isTable = name == "table", isExperts = name == "experts";
        const bool trained = (isTable && (step <= 2 || step > 5)) || (isExperts && step > 3) ||
                             (!isTable && !isExperts);
        EXPECT_EQ(values != after[step - 2].at(name), trained) << name << " at step " << step;
      }
    for (int step = 1; step <= 7; ++step)
      EXPECT_EQ(run.log[step - 1]["groups"][0]["trained"], step <= 2 || step > 5);
    if (first.empty()) {
      first = run.log;
      firstWeights = after.back();
    }
    for (int step = 0; step < 7; ++step) {
      EXPECT_NEAR(run.log[step]["loss"], first[step]["loss"], 1e-5);
      EXPECT_NEAR(run.log[step]["grad_norm"], first[step]["grad_norm"], 1e-5);
    }
    for (auto &[name, values] : after.back())
      expectNear(values, Doubles(firstWeights.at(name).begin(), firstWeights.at(name).end()), 2e-5);
    // From any step on the same numbers, on this plan to the bit.
    for (int step : {1, 4, 5}) {
      const std::string next = folder + "r" + std::to_string(step);
      auto resumed = flags(next, 7);
      resumed.insert(resumed.end(),
                     {"--resume", t.dir / (folder + "/step-0000000" + std::to_string(step))});
      const CheckpointRun rest = t.run(program.p, resumed, "r" + std::to_string(step) + next);
      ASSERT_EQ(rest.code, 0) << rest.err;
      EXPECT_EQ(rest.err.find("warning"), std::string::npos) << rest.err;
      for (int later = step; later < 7; ++later)
        EXPECT_EQ(rest.log[later - step], run.log[later]) << later;
      EXPECT_EQ(weightsOf(t.dir / (next + "/step-00000007")), after.back());
    }
  }
}

// Of a program without groups and one with them that all train.
TEST(Updates, GroupsThatAllTrainChangeNothing) {
  CheckpointRuns t;
  RankProgram plain("dp=2", 2), grouped("dp=2", 2);
  grouped.makeGroups();
  auto want = t.run(plain.p, flagsOf({"", 0, 2}, {"--steps", "5"}));
  auto got = t.run(grouped.p, flagsOf({"", 0, 2}, {"--steps", "5"}));
  ASSERT_EQ(got.code, 0) << got.err;
  for (int step = 0; step < 5; ++step) {
    got.log[step].erase("groups");
    EXPECT_EQ(got.log[step], want.log[step]);
  }
}

TEST(Updates, AGroupWhoseUpdatesStaySmallRests) {
  CheckpointRuns t;
  RankProgram program("dp=2", 1);
  program.makeGroups();
  auto flags = flagsOf({"", 0, 2}, {"--steps", "12", "--warmup", "2", "--freeze-patience", "3",
                                    "--checkpoint", t.dir / "c", "--checkpoint-every", "5"});
  auto below = [&](const std::string &threshold) {
    auto all = flags;
    all.insert(all.end(), {"--freeze-below", threshold});
    return all;
  };
  // What the norms are.
  const CheckpointRun free = t.run(program.p, below("1e-9"));
  ASSERT_EQ(free.code, 0) << free.err;
  double most[2] = {};
  for (const auto &step : free.log)
    for (int group : {0, 1}) {
      EXPECT_TRUE(step["groups"][group]["trained"]);
      EXPECT_GT(step["groups"][group]["update_norm"], 0);
      if (step["step"] > 2)
        most[group] = std::max(most[group], double(step["groups"][group]["update_norm"]));
    }
  std::filesystem::remove_all(t.dir / "c");
  ASSERT_NE(most[0], most[1]);
  const int smaller = most[0] > most[1];
  // Above one group's and below the other's: it rests behind the warm-up and three quiet steps.
  auto between = below(std::to_string((most[0] + most[1]) / 2));
  const CheckpointRun run = t.run(program.p, between);
  ASSERT_EQ(run.code, 0) << run.err;
  const std::string name = smaller ? "experts" : "table";
  EXPECT_NE(run.out.find("step 5: " + name + " rests from now on"), std::string::npos) << run.out;
  for (const auto &step : run.log)
    EXPECT_EQ(step["groups"][smaller]["trained"], step["step"] <= 5) << step;
  // Also behind a checkpoint.
  std::filesystem::remove_all(t.dir / "c/step-00000010");
  std::filesystem::remove_all(t.dir / "c/step-00000012");
  between.insert(between.end(), {"--resume", "auto"});
  const CheckpointRun rest = t.run(program.p, between);
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(rest.log, run.log);
  // Where nothing else is left, the last group goes on.
  program.params[1].updateGroup = 0;
  std::filesystem::remove_all(t.dir / "c");
  const CheckpointRun all = t.run(program.p, below("1000"));
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_NE(all.log.back()["groups"][0]["trained"], all.log.back()["groups"][1]["trained"]);
}

TEST(Updates, ACheckpointOfOtherGroups) {
  CheckpointRuns t;
  RankProgram plain("dp=1"), grouped("dp=1");
  grouped.makeGroups();
  auto flags = [&](const char *steps) {
    return flagsOf({"", 0, 1}, {"--steps", steps, "--checkpoint", t.dir / "c", "--resume", "auto"});
  };
  ASSERT_EQ(t.run(plain.p, flags("2")).code, 0);
  auto some = flags("4");
  some.insert(some.end(), {"--update-schedule", "experts@0"});
  const CheckpointRun later = t.run(grouped.p, some);
  ASSERT_EQ(later.code, 0) << later.err;
  EXPECT_NE(
      later.err.find("the checkpoint has no group 'table'; its parameters count as trained in "
                     "all 2 steps"),
      std::string::npos)
      << later.err;
  RankProgram others("dp=1");
  others.makeGroups();
  others.params[1].updateGroup = 0; // bias beside table
  auto copy = flags("4");           // which writes nothing
  const CheckpointRun renamed = t.run(others.p, copy);
  ASSERT_EQ(renamed.code, 0) << renamed.err;
  EXPECT_NE(renamed.err.find("the checkpoint's group 'table' has other parameters than the "
                             "program's; those of the program count as trained in its 2 steps"),
            std::string::npos)
      << renamed.err;
  EXPECT_EQ(renamed.err.find("'experts'"), std::string::npos) << renamed.err;
  const CheckpointRun last = t.run(plain.p, flags("5"));
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_NE(last.err.find("group 'table' was trained in 2 of 4 steps"), std::string::npos)
      << last.err;
}

TEST(Updates, OptionsThatAreWrong) {
  CheckpointRuns t;
  RankProgram plain("dp=1"), grouped("dp=1");
  grouped.makeGroups();
  auto error = [&](RankProgram &program, std::vector<std::string> args) {
    const CheckpointRun run = t.run(program.p, args);
    EXPECT_EQ(run.code, 1);
    return run.err;
  };
  EXPECT_NE(error(plain, {"--update-schedule", "all@0"}).find("compile it with --groups"),
            std::string::npos);
  EXPECT_NE(error(plain, {"--freeze-below", "1"}).find("compile it with --groups"),
            std::string::npos);
  EXPECT_NE(error(grouped, {"--freeze-below", "-1"}).find("use 0 or more"), std::string::npos);
  EXPECT_NE(error(grouped, {"--freeze-patience", "5"}).find("is for --freeze-below"),
            std::string::npos);
  EXPECT_NE(error(grouped, {"--freeze-below", "1", "--freeze-patience", "0"}).find("1 or more"),
            std::string::npos);
}
