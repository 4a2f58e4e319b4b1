//===- CheckpointProcessTest.cpp - Checkpoints, signals and full disks ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CheckpointUtil.h"
#include "Processes.h"
#include "RankProgram.h"

using namespace moire::rt::test;

namespace {
const std::string kProgram = RANK_PROGRAM;

std::vector<std::string> command(const CheckpointRuns &t, const std::string &program,
                                 std::vector<std::string> more) {
  more.insert(more.begin(), {kProgram, program});
  return t.arguments(more);
}
constexpr const char *kForever = "100000000";
} // namespace

TEST(CheckpointSignal, OneIsWrittenByAllRanksAndTheCodeIsThree) {
  for (int signal : {SIGINT, SIGTERM})
    for (const char *mode : {"--keep=2", "--async-checkpoint"}) {
      CheckpointRuns t;
      const auto flags =
          command(t, "dp=3", {"--steps", kForever, "--checkpoint", t.dir / "c", mode});
      Processes p(flags, 3, 3, freePort());
      p.awaitText(0, "step 1/");
      p.signal(2, signal);
      const auto ends = p.wait(20);
      for (const auto &end : ends)
        EXPECT_EQ(end.code, 3) << end.err;
      const Names names = t.names("c");
      ASSERT_EQ(names.size(), 1u);
      EXPECT_NE(ends[0].err.find("stopped by signal " + std::to_string(signal) + " after step " +
                                 std::to_string(std::stoi(names[0].substr(5))) +
                                 "; go on with --resume '" + (t.dir / "c/" + names[0]) + "'\n"),
                std::string::npos)
          << ends[0].err;
      EXPECT_EQ(ends[0].err.find("error"), std::string::npos);
      // It is what the run had after that step.
      const std::string step = std::to_string(std::stoi(names[0].substr(5)));
      Processes whole(command(t, "dp=3", {"--steps", step, "--checkpoint", t.dir / "whole"}), 1, 0,
                      0);
      ASSERT_EQ(whole.wait(60)[0].code, 0);
      EXPECT_EQ(read(t.dir / ("c/" + names[0] + "/manifest.json")),
                read(t.dir / ("whole/" + names[0] + "/manifest.json")));
    }
}

TEST(CheckpointSignal, WithoutAFolderNothingIsSaved) {
  CheckpointRuns t;
  Processes p(command(t, "dp=1", {"--steps", kForever}), 1, 0, 0);
  p.awaitText(0, "step 1/");
  p.signal(0, SIGTERM);
  const auto end = p.wait(20)[0];
  EXPECT_EQ(end.code, 2);
  EXPECT_NE(end.err.find("; nothing was saved, for want of --checkpoint\n"), std::string::npos)
      << end.err;
}

TEST(CheckpointSignal, ASecondOneEndsTheTrainerAtOnce) {
  CheckpointRuns t;
  // The second step takes long: the first signal is not heard before its end.
  Processes p(command(t, "dp=1", {"--steps", kForever, "--checkpoint", t.dir / "c"}), 0, 0, 0);
  p.start(command(t, "dp=2", {"--ranks", "2", "--steps", kForever, "--checkpoint", t.dir / "c"}), 0,
          0, 0, {"STALL=0,2,60"});
  p.awaitText(0, "stalls"); // step 2 has asked for signals
  p.signal(0, SIGTERM);
  p.signal(0, SIGTERM); // what a launcher passes on at the same time is the same signal
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(p.wait(0)[0].code, -1);
  p.signal(0, SIGTERM);
  const auto end = p.wait(5)[0];
  EXPECT_EQ(end.code, 128 + SIGTERM) << end.err;
  EXPECT_EQ(t.names("c"), Names{});
}

TEST(CheckpointSignal, OneRunAtATimeWritesToAFolder) {
  CheckpointRuns t;
  const std::vector<std::string> more = {"--resume", "auto", "--checkpoint", t.dir / "c"};
  auto forever = more, two = more;
  forever.insert(forever.end(), {"--steps", kForever, "--checkpoint-every", "1", "--keep", "999999"});
  two.insert(two.end(), {"--steps", "1"});
  Processes p(command(t, "dp=1", forever), 1, 0, 0);
  p.awaitText(0, "step 1/");
  RankProgram program("dp=1");
  const CheckpointRun second = t.run(program.p, two);
  EXPECT_EQ(second.code, 1);
  EXPECT_NE(second.err.find("c' is written by another run, which has not ended; wait for its end, "
                            "or give another folder"),
            std::string::npos)
      << second.err;
  p.signal(0, SIGKILL);
  EXPECT_EQ(p.wait(5)[0].code, 128 + SIGKILL);
  EXPECT_EQ(t.run(program.p, two).code, 0);
}

TEST(CheckpointSignal, AfterAPeersDeathThereIsNoCheckpoint) {
  CheckpointRuns t;
  Processes p(command(t, "dp=3", {"--steps", kForever, "--checkpoint", t.dir / "c"}), 3, 3,
              freePort());
  p.awaitText(0, "step 1/");
  p.signal(1, SIGKILL);
  p.signal(0, SIGTERM);
  p.signal(2, SIGTERM);
  const auto ends = p.wait(20);
  for (int rank : {0, 2}) {
    EXPECT_EQ(ends[rank].code, 2) << ends[rank].err;
    EXPECT_NE(ends[rank].err.find("error: rank 1 of 3 is lost in "), std::string::npos)
        << ends[rank].err;
  }
  for (const std::string &name : t.names("c"))
    EXPECT_EQ(name.rfind(".tmp-step-", 0), 0u) << name; // begun in the moment of the death
}

TEST(CheckpointDisk, WhereItIsFullTheEarlierOnesStay) {
  for (const std::string mode : {"", "--async-checkpoint"})
    for (const char *program : {"stages:1f1b", "stages:1f1b,dp=2,zero=1"}) {
      CheckpointRuns t;
      auto run = [&](const std::string &limit, const std::string &steps) {
        std::string line = "ulimit -f " + limit + "; exec";
        for (const std::string &word :
             command(t, program,
                     {"--steps", steps, "--checkpoint", t.dir / "c", "--resume", "auto",
                      "--checkpoint-every", "2", "--keep", "2"}))
          line += " '" + word + "'";
        line += " " + mode;
        Processes p({"/bin/bash", "-c", line}, 1, 0, 0);
        return p.wait(60)[0];
      };
      auto end = run("unlimited", "2");
      ASSERT_EQ(end.code, 0) << end.err;
      end = run("100", "5"); // in KiB
      EXPECT_EQ(end.code, 2);
      const size_t error = end.err.find("error: ");
      ASSERT_NE(error, std::string::npos) << end.err;
      EXPECT_EQ(end.err.substr(error),
                "error: checkpoint of step 4 was not saved: cannot write '" + t.dir.path +
                    "/c/.tmp-step-00000004/weights.safetensors': File too large\n");
      EXPECT_EQ(t.names("c"), Names{"step-00000002"});
      end = run("unlimited", "5");
      EXPECT_EQ(end.code, 0) << end.err;
      EXPECT_EQ(t.names("c"), (Names{"step-00000004", "step-00000005"}));
    }
}
