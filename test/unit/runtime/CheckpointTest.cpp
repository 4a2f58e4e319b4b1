//===- CheckpointTest.cpp - Checkpoints under every plan ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CheckpointUtil.h"
#include "RankProgram.h"
#include "StageProgram.h"
#include "train/cut_log.h"
#include "train/placed_sum.h"
#include "train/safetensors.h"

#include <map>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
const char *const kFiles[] = {"weights.safetensors", "exp_avg.safetensors",
                              "exp_avg_sq.safetensors"};

/// The three files of a checkpoint.
std::vector<std::string> filesOf(const std::string &folder) {
  std::vector<std::string> all;
  for (const char *name : kFiles)
    all.push_back(read(folder + "/" + name));
  return all;
}

/// Tensors of a file as floats.
std::map<std::string, Floats> tensorsOf(const std::string &path) {
  std::map<std::string, Floats> all;
  const Safetensors file(path);
  for (auto &[name, t] : file.tensors()) {
    all[name].resize(t.elements());
    std::memcpy(all[name].data(), t.data.data, t.elements() * 4);
  }
  return all;
}

struct Plan {
  const char *mesh;
  int zero, accumulate;
};
const Plan kPlans[] = {
    {"dp=1", 0, 8},           {"dp=2", 0, 4},           {"dp=2", 1, 4}, {"dp=2", 2, 4},
    {"dp=2", 3, 4},           {"tp=2", 0, 8},           {"ep=2", 3, 4}, {"dp=2,ep=2", 1, 2},
    {"dp=2,ep=2,tp=2", 0, 2}, {"dp=2,ep=2,tp=2", 3, 2},
};

/// Trains on each plan, then passes the checkpoint through all of the others without a step:
/// what comes out must be what went in, byte for byte. The same plan and the next one go on with
/// the numbers of the first.
template <typename Plans, typename Make> void passThroughAll(const Plans &plans, Make &&make) {
  CheckpointRuns t;
  auto flags = [&](const auto &plan, std::vector<std::string> more) {
    more.insert(more.end(), {"--accumulate", std::to_string(plan.accumulate), "--clip", "0.5"});
    return more;
  };
  int number = 0;
  for (const auto &plan : plans) {
    SCOPED_TRACE(testing::Message() << plan.mesh << " zero " << plan.zero);
    const auto program = make(plan);
    std::string last = "first" + std::to_string(number++);
    auto r = t.run(program->p, flags(plan, {"--steps", "3", "--checkpoint", t.dir / last}));
    ASSERT_EQ(r.code, 0) << r.err;
    ASSERT_EQ(t.names(last), Names{"step-00000003"});
    const auto want = filesOf(t.dir / (last + "/step-00000003"));
    const auto whole = t.run(program->p, flags(plan, {"--steps", "6"}), "whole.jsonl");
    for (const auto &other : plans) {
      SCOPED_TRACE(testing::Message() << "then " << other.mesh << " zero " << other.zero);
      const std::string next = "next" + std::to_string(number++);
      const auto reader = make(other);
      r = t.run(reader->p, flags(other, {"--steps", "3", "--resume", t.dir / last, "--checkpoint",
                                         t.dir / next}));
      ASSERT_EQ(r.code, 0) << r.err;
      ASSERT_TRUE(filesOf(t.dir / (next + "/step-00000003")) == want);
      last = next;
      if (&other != &plan && &other != &plan + 1)
        continue;
      r = t.run(reader->p, flags(other, {"--steps", "6", "--resume", t.dir / last}));
      ASSERT_EQ(r.code, 0) << r.err;
      EXPECT_EQ(r.err.find("warning"), std::string::npos) << r.err;
      ASSERT_EQ(r.log.size(), 6u);
      for (int step = 0; step < 6; ++step)
        if (&other == &plan)
          EXPECT_EQ(r.log[step], whole.log[step]);
        else
          EXPECT_NEAR(r.log[step]["loss"], whole.log[step]["loss"],
                      1e-5 * double(whole.log[step]["loss"]));
    }
  }
}
} // namespace

TEST(Checkpoint, AnyMeshAndZeroLoadsAnyOthersBits) {
  passThroughAll(kPlans,
                 [](const Plan &p) { return std::make_unique<RankProgram>(p.mesh, p.zero); });
}

TEST(Checkpoint, AnyPipelineLoadsAnyOthersBits) {
  // As one stage has another model than two, the whole is of two stages.
  const Plan plans[] = {{"whole", 0, 8},
                        {"1f1b", 0, 2},
                        {"dual", 0, 2},
                        {"dual,dp=2,zero=2", 0, 1},
                        {"1f1b,dp=2,zero=1", 0, 1}};
  passThroughAll(plans, [](const Plan &p) {
    return p.mesh == std::string("whole") ? StageProgram::whole(2)
                                          : std::make_unique<StageProgram>(placementOf(p.mesh));
  });
}

TEST(Checkpoint, HoldsWholeTensorsByPyTorchsNames) {
  CheckpointRuns t;
  // A step without decay of AdamW from zero: m is (1 - beta1) times the gradient.
  const RankProgram one("dp=1"), many("dp=2,tp=2", 2);
  auto r = t.run(one.p, {"--steps", "1", "--accumulate", "2", "--beta1", "0.75", "--checkpoint",
                         t.dir / "one", "--dump-grads", t.dir / "g.safetensors"});
  ASSERT_EQ(r.code, 0) << r.err;
  r = t.run(many.p, {"--steps", "1", "--beta1", "0.75", "--checkpoint", t.dir / "many"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto gradients = tensorsOf(t.dir / "g.safetensors");
  for (const char *folder : {"one", "many"}) {
    const std::string path = t.dir / (std::string(folder) + "/step-00000001/");
    const Safetensors weights(path + kFiles[0]);
    EXPECT_EQ(weights.tensors().at("table").dims, (std::vector<int64_t>{12, 12}));
    EXPECT_EQ(weights.tensors().at("experts").dims, (std::vector<int64_t>{4, 12}));
    for (auto &[name, m] : tensorsOf(path + kFiles[1]))
      for (size_t i = 0; i < m.size(); ++i)
        EXPECT_NEAR(m[i], 0.25f * gradients.at(name)[i], 1e-7) << name << " " << i;
    EXPECT_EQ(tensorsOf(path + kFiles[2]).size(), gradients.size());
  }
}

TEST(Checkpoint, TheMicroBatchMayBeAnother) {
  // Rows of the data go on where they ended, whatever a micro-batch is.
  CheckpointRuns t;
  RankProgram one("dp=1"), two("dp=2");
  const auto whole = t.run(one.p, {"--steps", "5", "--accumulate", "2"}, "whole.jsonl");
  ASSERT_EQ(whole.code, 0) << whole.err;
  auto r = t.run(two.p, {"--steps", "3", "--checkpoint", t.dir / "c"});
  ASSERT_EQ(r.code, 0) << r.err;
  r = t.run(one.p, {"--steps", "5", "--accumulate", "2", "--resume", t.dir / "c"});
  ASSERT_EQ(r.log.size(), 5u) << r.err;
  EXPECT_NEAR(r.log[4]["loss"], whole.log[4]["loss"], 1e-5);
  // With half the rows a step there is a warning, and other numbers.
  r = t.run(one.p, {"--steps", "5", "--resume", t.dir / "c"});
  EXPECT_NE(r.err.find("warning: the checkpoint's run had other options: rows of a step 2 (was 4)"),
            std::string::npos)
      << r.err;
  EXPECT_GT(std::fabs(double(r.log[4]["loss"]) - double(whole.log[4]["loss"])), 1e-4);
}

TEST(Checkpoint, AMixOfFilesGoesOnWhereRowsAreCountedAlike) {
  CheckpointRuns t;
  std::vector<uint16_t> same(600, 7);
  write(t.dir / "same.bin", tokenFile(20240520, 1, 600, same));
  t.data += ":0.6," + (t.dir / "same.bin") + ":0.4";
  RankProgram one("dp=1"), two("dp=2");
  const std::vector<std::string> steps = {"--mix", "0.2,0.8@2", "1,0@4"},
                                 rows = {"--mix", "0.2,0.8@8rows", "1,0@16rows"};
  auto run = [&](const Program &p, std::vector<std::string> more, const std::vector<std::string> &mix,
                 const std::string &log = "log.jsonl") {
    more.insert(more.end(), mix.begin(), mix.end());
    return t.run(p, more, log);
  };
  const auto whole = run(one.p, {"--steps", "6", "--accumulate", "2"}, steps, "whole.jsonl");
  ASSERT_EQ(whole.log.size(), 6u) << whole.err;
  auto r = run(two.p, {"--steps", "3", "--checkpoint", t.dir / "c"}, steps);
  ASSERT_EQ(r.code, 0) << r.err;
  // Half the rows a step: those of 3 steps were 12.
  r = run(one.p, {"--steps", "6", "--resume", t.dir / "c"}, steps);
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("counts steps, 3 steps were 12 rows and are 6 now"), std::string::npos)
      << r.err;
  EXPECT_EQ(r.log.size(), 3u); // as it was
  r = run(one.p, {"--steps", "6", "--resume", t.dir / "c"}, rows);
  EXPECT_EQ(r.code, 0) << r.err;
  r = run(one.p, {"--steps", "6", "--accumulate", "2", "--resume", t.dir / "c"}, steps);
  ASSERT_EQ(r.log.size(), 6u) << r.err;
  for (int step = 3; step < 6; ++step)
    EXPECT_NEAR(r.log[step]["loss"], whole.log[step]["loss"], 1e-5);
}

TEST(Checkpoint, SGDsMomentumAndTheRateGoOn) {
  CheckpointRuns t;
  RankProgram program("dp=2", 1);
  program.p.optimizer = OptimizerKind::sgd;
  const std::vector<std::string> flags = {"--steps",       "9",      "--lr",     "0.1",
                                          "--lr-schedule", "cosine", "--warmup", "3",
                                          "--momentum",    "0.9"};
  auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), flags.begin(), flags.end());
    return t.run(program.p, more);
  };
  const auto whole =
      with({"--checkpoint", t.dir / "c", "--checkpoint-every", "2", "--keep", "100"});
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(t.names("c/step-00000002"),
            (Names{"manifest.json", "momentum_buffer.safetensors", "weights.safetensors"}));
  for (int step : {2, 4, 8}) {
    const auto r = with({"--resume", t.dir / ("c/step-0000000" + std::to_string(step))});
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.log, whole.log);
  }
  const auto plain = t.run(program.p, {"--steps", "9", "--resume", t.dir / "c"});
  EXPECT_EQ(plain.code, 1);
  EXPECT_NE(plain.err.find("is of a run with SGD with momentum, this one has SGD without momentum"),
            std::string::npos)
      << plain.err;
}

TEST(Checkpoint, InTheBackgroundTheSameBytes) {
  CheckpointRuns t;
  const RankProgram program("dp=2,ep=2", 1);
  for (const std::string folder : {"sync", "async"}) {
    std::vector<std::string> flags = {
        "--steps", "9", "--checkpoint", t.dir / folder, "--checkpoint-every", "2", "--keep", "100"};
    if (folder == "async")
      flags.push_back("--async-checkpoint");
    const auto r = t.run(program.p, flags);
    ASSERT_EQ(r.code, 0) << r.err;
  }
  const Names names = t.names("sync");
  EXPECT_EQ(names, t.names("async"));
  EXPECT_EQ(names.size(), 5u);
  for (const std::string &name : names) {
    EXPECT_TRUE(filesOf(t.dir / ("sync/" + name)) == filesOf(t.dir / ("async/" + name))) << name;
    EXPECT_EQ(read(t.dir / ("sync/" + name + "/manifest.json")),
              read(t.dir / ("async/" + name + "/manifest.json")));
  }
}

TEST(Checkpoint, TheLastOnesStayAndLeftOversGo) {
  CheckpointRuns t;
  const RankProgram program("dp=2");
  for (const char *name : {".tmp-step-00000007", ".tmp-old-step-00000001", ".tmp-other", "mine"})
    std::filesystem::create_directories(t.dir / ("c/" + std::string(name)));
  auto r = t.run(program.p, {"--steps", "7", "--checkpoint", t.dir / "c", "--checkpoint-every", "2",
                             "--keep", "2"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(t.names("c"), (Names{".tmp-other", "mine", "step-00000006", "step-00000007"}));
  // Another run does not begin in the same folder, and --resume auto goes on in it.
  r = t.run(program.p, {"--steps", "9", "--checkpoint", t.dir / "c"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("holds the checkpoint of step 7 of another run; add --resume auto"),
            std::string::npos);
  r = t.run(program.p,
            {"--steps", "9", "--checkpoint", t.dir / "c", "--keep", "2", "--resume", "auto"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("resumed: " + t.dir.path + "/c/step-00000007"), std::string::npos);
  EXPECT_EQ(t.names("c"), (Names{".tmp-other", "mine", "step-00000007", "step-00000009"}));
  // From an earlier one only into another folder.
  r = t.run(program.p,
            {"--steps", "9", "--checkpoint", t.dir / "c", "--resume", t.dir / "c/step-00000007"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("holds the checkpoint of step 9, later than step 7"), std::string::npos)
      << r.err;
  // Where nothing is yet, auto begins.
  r = t.run(program.p, {"--steps", "1", "--checkpoint", t.dir / "d", "--resume", "auto"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(t.names("d"), Names{"step-00000001"});
}

TEST(Checkpoint, OfADamagedOneTheOneBeforeIsTaken) {
  CheckpointRuns t;
  const RankProgram program("dp=2", 1);
  const std::vector<std::string> flags = {
      "--steps", "8", "--checkpoint", t.dir / "c", "--checkpoint-every", "2", "--resume", "auto"};
  const auto whole = t.run(program.p, flags, "whole.jsonl");
  ASSERT_EQ(whole.code, 0) << whole.err;
  const std::string damaged = t.dir / "c/step-00000008/exp_avg.safetensors";
  std::string bytes = read(damaged);
  bytes[bytes.size() - 5] ^= 1;
  write(damaged, bytes);
  std::filesystem::remove(t.dir / "c/step-00000006/manifest.json");
  const auto r = t.run(program.p, flags);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("warning: checkpoint '" + t.dir.path +
                       "/c/step-00000008' is damaged: 'exp_avg.safetensors' has another checksum "
                       "than its manifest says\n"),
            std::string::npos)
      << r.err;
  EXPECT_NE(r.err.find("step-00000006' is damaged: it has no manifest\n"), std::string::npos);
  ASSERT_EQ(r.log.size(), 4u); // another log: it has what came behind step 4
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(r.log[i], whole.log[4 + i]);
  // What was damaged is there again.
  EXPECT_EQ(t.run(program.p, flags).err, "");
}

TEST(Checkpoint, BadOnesAreRefusedWithOneSentence) {
  CheckpointRuns t;
  const RankProgram program("dp=2", 1), one("dp=1");
  auto r = t.run(program.p, {"--steps", "2", "--checkpoint", t.dir / "good"});
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string path = t.dir / "c/step-00000002/";
  auto refused = [&](const Program &p, const std::string &what,
                     std::vector<std::string> more = {}) {
    std::filesystem::remove_all(t.dir / "new");
    write(t.dir / "kept.jsonl", std::string("{\"step\": 9}\n"));
    if (std::find(more.begin(), more.end(), "--resume") == more.end())
      more.insert(more.end(), {"--resume", t.dir / "c"});
    more.insert(more.end(), {"--steps", "4", "--checkpoint", t.dir / "new"});
    const auto r = t.run(p, more, "kept.jsonl");
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_EQ(r.err.rfind("error: ", 0), 0u) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    EXPECT_NE(r.err.find(what), std::string::npos) << r.err;
    EXPECT_FALSE(std::filesystem::exists(t.dir / "new"));
    EXPECT_EQ(read(t.dir / "kept.jsonl"), "{\"step\": 9}\n");
  };
  auto fresh = [&] {
    std::filesystem::remove_all(t.dir / "c");
    std::filesystem::copy(t.dir / "good", t.dir / "c", std::filesystem::copy_options::recursive);
  };
  auto change = [&](const std::string &file, const std::string &from, const std::string &to) {
    fresh();
    std::string text = read(path + file);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write(path + file, text.replace(at, from.size(), to));
  };
  for (const Program *p : {&program.p, &one.p}) {
    fresh();
    std::filesystem::resize_file(path + kFiles[0], 500);
    refused(*p, "no checkpoint in --resume '" + t.dir.path + "/c' is whole: checkpoint '" +
                    t.dir.path +
                    "/c/step-00000002' is damaged: 'weights.safetensors' has 500 "
                    "bytes, its manifest says ");
  }
  fresh();
  std::filesystem::remove(path + kFiles[1]);
  refused(program.p, "'exp_avg.safetensors' is missing");
  change(kFiles[0], "table", "tabel");
  refused(program.p, "'weights.safetensors' has another checksum than its manifest says");
  change("manifest.json", "\"step\": 2", "\"step\": 3");
  refused(program.p, "is damaged: its manifest has another checksum than it says");
  change("manifest.json", "\"content\"", "\"kontent\"");
  refused(program.p, "is damaged: its manifest is wrong (");
  change("manifest.json", "moire checkpoint", "moire chequepoint");
  refused(program.p, "its manifest is not one of a checkpoint");
  fresh();
  std::filesystem::resize_file(path + "manifest.json", 100);
  refused(program.p, "is damaged: its manifest is wrong (");
  write(path + "manifest.json", "");
  refused(program.p, "is damaged: its manifest is wrong (");
  change("manifest.json", "\"version\": 1", "\"version\": 7");
  refused(program.p, "checkpoint '" + t.dir.path +
                         "/c/step-00000002' is in version 7 of the format, this trainer reads "
                         "version 1; resume it with");
  fresh();
  const auto stages = StageProgram::whole(2);
  refused(stages->p, "is of the model 'ranks' with other trained parameters");
  refused(program.p, "is of a run with --seed 0, this one has 5; use --seed 0", {"--seed", "5"});
  RankProgram sgd("dp=1");
  sgd.p.optimizer = OptimizerKind::sgd;
  refused(sgd.p, "is of a run with AdamW, this one has SGD without momentum");
  refused(program.p, "'" + (t.dir / "none") + "' is not there; give the folder that --checkpoint",
          {"--resume", t.dir / "none"});
  std::filesystem::create_directories(t.dir / "empty/.tmp-step-00000003");
  refused(program.p, "holds no checkpoint, only 1 that was never finished",
          {"--resume", t.dir / "empty"});
  refused(program.p, "--weights 'w.onnx' has no effect with --resume", {"--weights", "w.onnx"});
  refused(program.p, "--keep is 0; use 1 or more", {"--keep", "0"});
  refused(program.p, "--checkpoint-every is 0; use 1 or more", {"--checkpoint-every", "0"});
}

TEST(Checkpoint, FlagsNeedTheFolder) {
  CheckpointRuns t;
  const RankProgram program("dp=1");
  for (const std::vector<std::string> &flags : std::vector<std::vector<std::string>>{
           {"--checkpoint-every", "2"}, {"--keep", "2"}, {"--async-checkpoint"}}) {
    const auto r = t.run(program.p, flags);
    EXPECT_EQ(r.code, 1);
    EXPECT_EQ(r.err, "error: " + flags[0] + " is for --checkpoint; add that, or leave it out\n");
  }
  const auto r = t.run(program.p, {"--resume", "auto"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("--resume auto looks in --checkpoint's folder"), std::string::npos);
}

TEST(Checkpoint, TheLogIsCutAtTheStep) {
  TempFolder dir;
  const std::string log = dir / "log";
  write(log, std::string("{\"step\": 1, \"loss\": 2}\n{\"note\": \"kept\"}\n{\"step\": 2}\n"
                         "{\"step\": 3}\n{\"step\": 4, \"lo"));
  cutLog(log, 2);
  EXPECT_EQ(read(log), "{\"step\": 1, \"loss\": 2}\n{\"note\": \"kept\"}\n{\"step\": 2}\n");
  write(log, std::string("{\"step\": 1}\n{\"step\": 2}")); // its end may be missing
  cutLog(log, 2);
  EXPECT_EQ(read(log), "{\"step\": 1}\n");
  cutLog(dir / "none", 2);
  EXPECT_FALSE(std::filesystem::exists(dir / "none"));
}

TEST(PlacedSum, IsThatOfThePartsAndTellsEachChange) {
  std::vector<uint32_t> words(1000);
  std::mt19937 gen(1);
  for (uint32_t &w : words)
    w = gen() % 3; // many equal ones
  auto sum = [&](size_t from, size_t to) {
    return placedSum(words.data() + from, int64_t(to - from) * 4, int64_t(from) * 4);
  };
  const uint64_t whole = sum(0, 1000);
  EXPECT_EQ(sum(300, 1000) + sum(0, 7) + sum(7, 300), whole);
  for (int i = 0; i < 1000; ++i) { // a changed bit, swapped words, words that moved
    words[i] ^= 1u << (i % 32);
    EXPECT_NE(sum(0, 1000), whole);
    words[i] ^= 1u << (i % 32);
    if (words[i] != words[(i + 13) % 1000]) {
      std::swap(words[i], words[(i + 13) % 1000]);
      EXPECT_NE(sum(0, 1000), whole);
      std::swap(words[i], words[(i + 13) % 1000]);
    }
  }
  EXPECT_NE(placedSum(words.data(), 4000, 4), whole);
}
