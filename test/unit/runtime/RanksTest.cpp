//===- RanksTest.cpp - The trainer on many ranks against one --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CommUtil.h"
#include "FileUtil.h"
#include "RankProgram.h"
#include "TestUtil.h"
#include "comm/launch.h"
#include "moire/rt/gradients.h"
#include "train/safetensors.h"
#include "train/shards.h"
#include "train/weights.h"

#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Result {
  int code;
  std::string err;
  std::vector<nlohmann::json> log;
  std::map<std::string, Floats> gradients;
};

struct Ranks {
  TempFolder dir;
  std::string data = dir / "tokens.bin";
  Ranks() {
    // Every window is another one, so that swapped micro-batches show.
    std::vector<uint16_t> ids;
    std::mt19937 gen(3);
    for (int i = 0; i < 5000; ++i)
      ids.push_back(uint16_t(gen() % RankProgram::kVocab));
    write(data, tokenFile(20240520, 1, int(ids.size()), ids));
  }

  Result run(const Program &p, std::vector<std::string> args) {
    std::filesystem::remove(dir / "log.jsonl");
    std::filesystem::remove(dir / "g.safetensors");
    args.insert(args.begin(), "trainer");
    args.insert(args.end(), {"--log", dir / "log.jsonl", "--dump-grads", dir / "g.safetensors"});
    if (std::find(args.begin(), args.end(), "--data") == args.end())
      args.insert(args.end(), {"--data", data});
    std::vector<char *> argv;
    for (std::string &a : args)
      argv.push_back(a.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    Result r;
    r.code = trainerMain(int(argv.size()), argv.data(), p);
    testing::internal::GetCapturedStdout();
    r.err = testing::internal::GetCapturedStderr();
    std::ifstream f(dir / "log.jsonl");
    for (std::string line; std::getline(f, line);)
      r.log.push_back(nlohmann::json::parse(line));
    if (std::filesystem::exists(dir / "g.safetensors")) {
      const Safetensors file(dir / "g.safetensors");
      for (auto &[name, t] : file.tensors()) {
        Floats v(t.elements());
        std::memcpy(v.data(), t.data.data, v.size() * 4);
        r.gradients[name] = v;
      }
    }
    return r;
  }
};

/// Σ over the mesh's data ranks times accumulation stays the same.
struct Plan {
  const char *mesh;
  int accumulate;
};
} // namespace

TEST(Ranks, EveryMeshGivesTheNumbersOfOneRank) {
  Ranks t;
  const std::vector<std::string> flags = {"--steps", "6",   "--lr",   "0.05",
                                          "--clip",  "0.2", "--seed", "4"};
  auto with = [&](int accumulate) {
    auto args = flags;
    args.insert(args.end(), {"--accumulate", std::to_string(accumulate)});
    return args;
  };
  const Result one = t.run(RankProgram("").p, with(8));
  ASSERT_EQ(one.code, 0) << one.err;
  ASSERT_EQ(one.log.size(), 6u);
  ASSERT_EQ(one.gradients.size(), 3u);
  EXPECT_GT(double(one.log[0]["grad_norm"]), 0.2); // it is clipped
  for (Plan plan : {Plan{"dp=2", 4},
                    {"dp=4", 2},
                    {"dp=8", 1},
                    {"ep=2", 4},
                    {"ep=4", 2},
                    {"tp=2", 8},
                    {"tp=4", 8},
                    {"dp=2,ep=2", 2},
                    {"dp=2,tp=2", 4},
                    {"dp=2,ep=2,tp=2", 2},
                    {"ep=4,tp=2", 2}}) {
    SCOPED_TRACE(plan.mesh);
    const Result many = t.run(RankProgram(plan.mesh).p, with(plan.accumulate));
    ASSERT_EQ(many.code, 0) << many.err;
    ASSERT_EQ(many.log.size(), 6u);
    EXPECT_EQ(many.log[0]["loss"], one.log[0]["loss"]);
    for (int step = 0; step < 6; ++step) {
      EXPECT_NEAR(many.log[step]["loss"], one.log[step]["loss"], 1e-5);
      EXPECT_NEAR(many.log[step]["grad_norm"], one.log[step]["grad_norm"], 1e-5);
    }
    for (auto &[name, gradient] : one.gradients)
      expectNear(many.gradients.at(name), gradient, 1e-6);
    // And from run to run the same bits.
    const Result again = t.run(RankProgram(plan.mesh).p, with(plan.accumulate));
    for (int step = 0; step < 6; ++step)
      EXPECT_EQ(again.log[step]["loss"], many.log[step]["loss"]);
  }
}

TEST(Ranks, WhatIsDividedGivesTheNumbersOfWhatIsWhole) {
  Ranks t;
  for (const char *mesh : {"dp=2", "dp=8", "ep=4", "dp=2,ep=2", "dp=2,tp=2", "dp=2,ep=2,tp=2"})
    for (const char *clip : {"0", "0.2"}) {
      SCOPED_TRACE(std::string(mesh) + " clip " + clip);
      const std::vector<std::string> flags = {"--steps", "5",      "--lr", "0.05",         "--clip",
                                              clip,      "--seed", "4",    "--accumulate", "2"};
      const Result whole = t.run(RankProgram(mesh).p, flags);
      ASSERT_EQ(whole.code, 0) << whole.err;
      for (int zero : {1, 2, 3}) {
        SCOPED_TRACE(zero);
        const Result divided = t.run(RankProgram(mesh, zero).p, flags);
        ASSERT_EQ(divided.code, 0) << divided.err;
        ASSERT_EQ(divided.log.size(), 5u);
        EXPECT_EQ(divided.log[0]["loss"], whole.log[0]["loss"]);
        for (int step = 0; step < 5; ++step) {
          EXPECT_NEAR(divided.log[step]["loss"], whole.log[step]["loss"], 1e-5);
          EXPECT_NEAR(divided.log[step]["grad_norm"], whole.log[step]["grad_norm"], 1e-5);
          // The same sums in the same order; clipping alone adds squares in another.
          if (zero == 1 && std::string(clip) == "0")
            EXPECT_EQ(divided.log[step]["loss"], whole.log[step]["loss"]);
        }
        for (auto &[name, gradient] : whole.gradients) {
          if (zero == 1)
            EXPECT_EQ(divided.gradients.at(name), gradient) << name;
          expectNear(divided.gradients.at(name), gradient, 1e-6);
        }
      }
    }
}

TEST(Ranks, ASlowNetworkChangesNothingButTime) {
  Ranks t;
  const std::vector<std::string> flags = {"--steps", "3"};
  auto slow = flags;
  slow.insert(slow.end(), {"--network", "latency=2000,bandwidth=0.01"});
  const Result fast = t.run(RankProgram("dp=2,ep=2").p, flags);
  const auto begin = std::chrono::steady_clock::now();
  const Result late = t.run(RankProgram("dp=2,ep=2").p, slow);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  ASSERT_EQ(fast.code + late.code, 0) << fast.err << late.err;
  for (int step = 0; step < 3; ++step)
    EXPECT_EQ(fast.log[step]["loss"], late.log[step]["loss"]);
  // Six collectives a step one after another at least: experts out and back, two sums of
  // gradients, the loss, the count.
  EXPECT_GE(took.count(), 3 * 6 * 0.002);
}

TEST(Ranks, AFolderIsCutOverRanksInTheOrderOfAtoms) {
  Ranks t;
  std::vector<int64_t> ids(8 * 3), labels;
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = int64_t(i * i + i / 3) % RankProgram::kVocab;
  labels = ids;
  labels[4] = labels[13] = labels[22] = -100; // ranks count different numbers of labels
  write(t.dir / "input_0.pb", tensorProto("input_ids", 7, {8, 3}, bytes(ids)));
  write(t.dir / "labels.pb", tensorProto("labels", 7, {8, 3}, bytes(labels)));
  auto run = [&](const char *mesh, const char *accumulate) {
    return t.run(RankProgram(mesh).p,
                 {"--data", t.dir.path, "--steps", "3", "--accumulate", accumulate});
  };
  const Result one = run("", "4");
  ASSERT_EQ(one.code, 0) << one.err;
  for (Plan plan : {Plan{"dp=2", 2}, {"dp=2,ep=2", 1}}) {
    const Result many = run(plan.mesh, plan.accumulate == 2 ? "2" : "1");
    ASSERT_EQ(many.code, 0) << many.err;
    EXPECT_EQ(many.log[0]["loss"], one.log[0]["loss"]);
    EXPECT_NEAR(many.log[2]["loss"], one.log[2]["loss"], 1e-5);
  }
  const Result wrong = run("dp=4", "2");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("leading dimension of 8, batch 2 x accumulation 2 x 4 ranks with data "
                           "of their own is 16; use --accumulate 1"),
            std::string::npos)
      << wrong.err;
}

TEST(Ranks, WeightsOfAFileAreCutAsTheMeshSays) {
  Ranks t;
  const Floats table = random(144, 1), bias = random(12, 2), experts = random(48, 3);
  writeSafetensors(t.dir / "w.safetensors", {{"table", {12, 12}, table.data()},
                                             {"bias", {12}, bias.data()},
                                             {"experts", {4, 12}, experts.data()}});
  const std::vector<std::string> flags = {"--weights", t.dir / "w.safetensors", "--steps",
                                          "2",         "--accumulate",          "4"};
  const Result one = t.run(RankProgram("").p, flags), tp = t.run(RankProgram("tp=4").p, flags);
  ASSERT_EQ(one.code + tp.code, 0) << one.err << tp.err;
  EXPECT_EQ(one.log[0]["loss"], tp.log[0]["loss"]);
  EXPECT_NEAR(one.log[1]["loss"], tp.log[1]["loss"], 1e-6);
  // A file with a shard in place of the whole.
  writeSafetensors(t.dir / "w.safetensors", {{"table", {12, 3}, table.data()},
                                             {"bias", {12}, bias.data()},
                                             {"experts", {4, 12}, experts.data()}});
  const Result wrong = t.run(RankProgram("tp=4").p, flags);
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("has shape [12, 3], parameter 'm.table' has [12, 12]"),
            std::string::npos)
      << wrong.err;
  EXPECT_EQ(std::count(wrong.err.begin(), wrong.err.end(), '\n'), 1) << wrong.err;
}

TEST(Ranks, WrongNumbersOfRanksAreRefused) {
  Ranks t;
  const Result three = t.run(RankProgram("dp=2").p, {"--ranks", "3"});
  EXPECT_EQ(three.code, 1);
  EXPECT_EQ(three.err, "error: --ranks is 3, the program was compiled for the mesh "
                       "pp=1,dp=2,ep=1,tp=1 of 2; start 2, or compile with another --mesh\n");
  const Result two = t.run(RankProgram("").p, {"--ranks", "2"});
  EXPECT_EQ(two.code, 1);
  EXPECT_EQ(two.err, "error: --ranks is 2, the program was compiled for one; start 1, or compile "
                     "with another --mesh\n");
  const Result network = t.run(RankProgram("dp=2").p, {"--network", "latency=3,speed=1"});
  EXPECT_EQ(network.err, "error: --network has 'speed=1'; use latency=MICROSECONDS and "
                         "bandwidth=GB/S, both 0 or more\n");
}

TEST(Ranks, GpuLinksThatAreNotThereAreRefused) {
  Ranks t;
  const Result wrong = t.run(RankProgram("dp=2").p, {"--gpu-link", "maybe"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_EQ(wrong.err, "error: --gpu-link is 'maybe'; use auto, nccl or host\n");
#ifndef MOIRE_CUDA_MODEL
  const Result host = t.run(RankProgram("dp=2").p, {"--gpu-link", "host"});
  EXPECT_EQ(host.code, 1);
  EXPECT_EQ(host.err, "error: --gpu-link is of programs for GPUs; compile with --target cuda, or "
                      "leave it out\n");
#endif
}

TEST(Ranks, ALossThatIsNotFiniteStopsAllWithOneSentence) {
  Ranks t;
  const Result r = t.run(RankProgram("dp=2,tp=2").p, {"--steps", "9", "--lr", "1e38"});
  EXPECT_EQ(r.code, 2);
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'),
            std::count(r.err.begin(), r.err.end(), '/') / 2 + 1)
      << r.err;
  EXPECT_NE(r.err.find("is not finite; use a smaller --lr"), std::string::npos) << r.err;
}

TEST(Ranks, ATokenThatOneRankAloneReadsStopsAll) {
  Ranks t;
  std::vector<uint16_t> ids(40, 1);
  ids[20] = 999;
  write(t.data, tokenFile(20240520, 1, int(ids.size()), ids));
  const Result r = t.run(RankProgram("dp=4").p, {"--steps", "50"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("error: token 999 at position 20 of "), std::string::npos) << r.err;
}

// Against a plain walk over all elements of the logical tensor.
TEST(Shards, PartsCoverTheTensorOnce) {
  const Mesh mesh({{"dp", 2}, {"ep", 2}, {"tp", 4}});
  const int64_t shape[] = {4, 24, 3}, blocks[] = {8, 4, 12};
  ParameterInfo p = {};
  p.rank = 3;
  p.globalShape = shape;
  p.numShards = 2;
  p.shards[0] = {0, 1, 0, nullptr};
  p.shards[1] = {1, 2, 3, blocks};
  std::vector<int> seen(4 * 24 * 3);
  for (int64_t rank = 0; rank < 8; ++rank) {
    const int64_t e = mesh.coordinate(rank, 1), t = mesh.coordinate(rank, 2);
    std::vector<int64_t> want, got(36);
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 24; ++j)
        for (int64_t k = 0; k < 3; ++k) {
          const int64_t start = j < 8 ? 0 : j < 12 ? 8 : 12, size = j < 8 ? 8 : j < 12 ? 4 : 12;
          if (i / 2 == e && (j - start) / (size / 4) == t)
            want.push_back((i * 24 + j) * 3 + k);
        }
    const Part part = Part::ofRank(p, mesh, rank);
    EXPECT_EQ(part.elements(), 36);
    eachPiece(part, [&](int64_t at, int64_t whole, int64_t count) {
      std::iota(got.begin() + at, got.begin() + at + count, whole);
    });
    EXPECT_EQ(got, want);
    for (int64_t at : got)
      ++seen[at];
  }
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

// Every transform, on ranks that hold a part, against the part of what one rank reads.
TEST(Shards, EveryTransformReadsTheRanksPart) {
  TempFolder dir;
  Floats file(4 * 6 * 10);
  std::iota(file.begin(), file.end(), 0.0f);
  write(dir / "model.bin", bytes(file));
  const std::string path = dir / "model.onnx";
  const int64_t cube[] = {4, 6, 10}, matrix[] = {24, 10};
  const int64_t half = 60 * 4;
  std::vector<Source> slices, transposed;
  for (int64_t i = 0; i < 4; ++i) {
    slices.push_back({"s", "model.bin", i * half, half, DType::f32, Transform::slice, i});
    transposed.push_back(
        {"t", "model.bin", i * half, half, DType::f32, Transform::sliceTranspose, i});
  }
  const Source same = {"a", "model.bin", 0, 960, DType::f32, Transform::same, 0};
  const Source last = {"b", "model.bin", 0, 960, DType::f32, Transform::transposeLast2, 0};
  const Source pairs = {"c", "model.bin", 0, 960, DType::f32, Transform::interleaveHalvesDim1, 0};
  struct Case {
    std::vector<Source> sources;
    int64_t rank;
    const int64_t *shape;
    std::vector<ShardInfo> shards;
  };
  const int64_t blocks[] = {2, 4};
  const std::vector<Case> cases = {
      {{same}, 3, cube, {{0, 0, 0, nullptr}}},
      {{same}, 3, cube, {{1, 1, 2, blocks}}},
      {{same}, 3, cube, {{0, 0, 0, nullptr}, {2, 1, 0, nullptr}}},
      {{same}, 2, matrix, {{0, 0, 0, nullptr}, {0, 1, 0, nullptr}}}, // one dimension twice
      {{last}, 2, matrix, {{1, 1, 0, nullptr}}},
      {{last}, 3, cube, {{0, 0, 0, nullptr}, {1, 1, 2, blocks}}},
      {slices, 3, cube, {{0, 0, 0, nullptr}, {1, 1, 0, nullptr}}},
      {transposed, 3, cube, {{0, 1, 0, nullptr}, {2, 0, 0, nullptr}}},
      {{pairs}, 3, cube, {{1, 1, 0, nullptr}, {2, 0, 0, nullptr}}},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(c);
    ParameterInfo param = {"p",
                           "p",
                           cases[c].rank,
                           cases[c].shape,
                           true,
                           Init::normal,
                           0.02f,
                           0,
                           int64_t(cases[c].sources.size()),
                           cases[c].sources.data()};
    Program p = {};
    p.modelPath = path.c_str();
    p.paramElements = p.gradElements = 240;
    p.numParameters = 1;
    p.parameters = &param;
    for (bool fresh : {false, true}) {
      p.init = fresh;
      param.globalShape = nullptr;
      param.shape = cases[c].shape;
      param.numShards = 0;
      Context whole(p, 1);
      loadWeights(whole, "", 5, "/x/trainer");
      param.globalShape = cases[c].shape;
      param.numShards = int64_t(cases[c].shards.size());
      std::copy(cases[c].shards.begin(), cases[c].shards.end(), param.shards);
      const auto errors = onThreads(Mesh({{"ep", 2}, {"tp", 2}}), {}, [&](Comm &comm) {
        Context ctx(p, 1);
        ctx.comm = &comm;
        loadWeights(ctx, "", 5, "/x/trainer");
        const Part part = Part::ofRank(param, comm.mesh, comm.rank());
        if (part.elements() != 240 / (param.numShards == 2 ? 4 : 2))
          throw std::runtime_error("wrong size");
        eachPiece(part, [&](int64_t at, int64_t from, int64_t count) {
          for (int64_t i = 0; i < count; ++i)
            if (ctx.param(0)[at + i] != whole.param(0)[from + i])
              throw std::runtime_error("wrong value at " + std::to_string(at + i));
        });
      });
      EXPECT_EQ(errors, std::vector<std::string>(4)) << (fresh ? "fresh" : "of the file");
    }
  }
}

namespace {
Launch launchIn(std::map<std::string, std::string> variables, int flag = 0) {
  return detectLaunch(flag, [&](const char *name) {
    auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}
} // namespace

TEST(Launch, IsFoundInTheOrderOfFlagTorchrunOpenMpiPmiSlurm) {
  std::map<std::string, std::string> v = {{"SLURM_PROCID", "2"},
                                          {"SLURM_NTASKS", "8"},
                                          {"SLURM_STEP_NODELIST", "gpu[07-09,12],x1"},
                                          {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"},
                                          {"SLURM_JOB_ID", "123"},
                                          {"SLURM_STEP_ID", "1"}};
  Launch l = launchIn(v);
  EXPECT_EQ(l.by, Launch::By::slurm);
  EXPECT_EQ(l.rank, 2);
  EXPECT_EQ(l.size, 8);
  EXPECT_EQ(l.localSize, 4);
  EXPECT_EQ(l.host, "gpu07");
  EXPECT_EQ(l.port, 20000 + 123 * 7 + 1);
  v.insert({{"PMI_RANK", "3"}, {"PMI_SIZE", "5"}, {"MPI_LOCALNRANKS", "5"}});
  l = launchIn(v);
  EXPECT_EQ(l.by, Launch::By::pmi);
  EXPECT_EQ(l.rank, 3);
  EXPECT_EQ(l.size, 5);
  EXPECT_EQ(l.localSize, 5);
  v.insert({{"OMPI_COMM_WORLD_RANK", "1"},
            {"OMPI_COMM_WORLD_SIZE", "4"},
            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  l = launchIn(v);
  EXPECT_EQ(l.by, Launch::By::openMpi);
  EXPECT_EQ(l.rank, 1);
  EXPECT_EQ(l.localSize, 2);
  v.insert({{"RANK", "5"},
            {"WORLD_SIZE", "6"},
            {"LOCAL_WORLD_SIZE", "3"},
            {"MASTER_ADDR", "10.0.0.1"},
            {"MASTER_PORT", "29500"}});
  l = launchIn(v);
  EXPECT_EQ(l.by, Launch::By::torchrun);
  EXPECT_EQ(l.rank, 5);
  EXPECT_EQ(l.host, "10.0.0.1");
  EXPECT_EQ(l.port, 29500);
  v.insert({{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RESTART_COUNT", "2"}});
  EXPECT_EQ(launchIn(v).port, 29503); // torchrun's own store is at 29500
  l = launchIn(v, 7);
  EXPECT_EQ(l.by, Launch::By::threads);
  EXPECT_EQ(l.size, 7);
}

TEST(Launch, OneOfOneIsASingleProcess) {
  EXPECT_EQ(launchIn({}).by, Launch::By::none);
  EXPECT_EQ(launchIn({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).by, Launch::By::none);
  // A batch script of Slurm, without srun, has a rank but no step.
  EXPECT_EQ(launchIn({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).by, Launch::By::none);
}

TEST(Launch, VariablesThatContradictAreRefused) {
  try {
    launchIn({{"RANK", "4"}, {"WORLD_SIZE", "4"}});
    FAIL();
  } catch (const InputError &e) {
    EXPECT_STREQ(e.what(), "RANK is '4'; the launcher should set a number from 0 to 3");
  }
}

TEST(Launch, TheFirstHostOfSlurmsLists) {
  for (auto [list, host] : {std::pair("a", "a"),
                            {"a,b", "a"},
                            {"n[1-3]", "n1"},
                            {"n[01,03-5],m", "n01"},
                            {"r[2-4]-ib,x", "r2-ib"},
                            {"a,n[1-3]", "a"}})
    EXPECT_EQ(firstHost(list), host);
}
