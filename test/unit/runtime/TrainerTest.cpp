//===- TrainerTest.cpp - trainerMain on a hand-written program ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The program is a bigram model: logits = table[token], loss = next token's
// cross-entropy. Small enough to compute every step by hand in double.
//
//===----------------------------------------------------------------------===//

#include "FileUtil.h"
#include "HostStatements.h"
#include "TestUtil.h"
#include "moire/rt/checksum.h"
#include "moire/rt/kernels.h"
#include "train/safetensors.h"

#include <nlohmann/json.hpp>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int64_t kVocab = 5, kBatch = 2, kSeq = 3, kRows = kBatch * kSeq;
const int64_t kShape[] = {kVocab, kVocab}, kInput[] = {kBatch, kSeq};

void statements(Context &ctx) {
  const auto *ids = ctx.input<int64_t>(0), *labels = ctx.input<int64_t>(1);
  const float *scale = ctx.input<float>(2);
  float *logits = ctx.at<float>(0), *losses = ctx.at<float>(4096);
  gather<float>(ctx, {1, kVocab, kVocab, kRows}, ctx.param(0), ids, logits);
  crossEntropyWithGrad(ctx, {kRows, kVocab}, logits, labels, scale, losses, nullptr, logits);
  if (ctx.trains)
    gatherGrad(ctx, {1, kVocab, kVocab, kRows}, logits, ids, ctx.grad(0), ctx.beta());
  double sum = 0;
  for (int64_t r = 0; r < kRows; ++r)
    sum += losses[r];
  const float scaled = float(sum) * *scale;
  loss(ctx, &scaled);
}
void microStep(Context &ctx) { hostStatements(ctx, statements); }

struct Trainer {
  TempFolder dir;
  Floats table = random(kVocab * kVocab, 1);
  std::string model = dir / "model.onnx";
  Source source = {"t", "model.onnx", 0, kVocab * kVocab * 4, DType::f32, Transform::same, 0};
  ParameterInfo param = {"table", "m.table", 2, kShape, true, Init::zeros, 0, 0, 1, &source};
  InputInfo inputs[3] = {{"input_ids", DType::i64, 2, kInput, Role::tokens, 0},
                         {"labels", DType::i64, 2, kInput, Role::labels, -1},
                         {"scale", DType::f32, 0, nullptr, Role::scale, -1}};
  FileInfo file = {};
  Program p = {};

  explicit Trainer(OptimizerKind kind) {
    write(model, bytes(table));
    FileChecksum sum = fileChecksum(model.c_str());
    file = {"model.onnx", sum.bytes, sum.sum};
    p.abi = kAbiVersion;
    p.name = "bigram";
    p.modelPath = model.c_str();
    p.numFiles = 1;
    p.files = &file;
    p.optimizer = kind;
    p.batch = kBatch;
    p.seq = kSeq;
    p.vocab = p.tokenVocab = kVocab;
    p.arenaBytes = 8192;
    p.paramElements = p.gradElements = 32;
    p.numParameters = 1;
    p.parameters = &param;
    p.numInputs = 3;
    p.inputs = inputs;
    p.microStep = p.forward = microStep;
    std::vector<int64_t> ids = {0, 1, 2, 3, 4, 0, 1, 1, 2, 4, 3, 2};
    std::vector<int64_t> labels = {0, 1, 2, 3, 4, -100, 1, 1, 2, 4, 3, 2};
    write(dir / "input_0.pb", tensorProto("input_ids", 7, {4, 3}, bytes(ids)));
    write(dir / "labels.pb", tensorProto("labels", 7, {4, 3}, bytes(labels)));
  }

  struct Run {
    int code;
    std::string err;
    std::vector<nlohmann::json> log;
  };
  Run run(std::vector<std::string> args) {
    args.insert(args.begin(), "trainer");
    args.insert(args.end(), {"--log", dir / "log.jsonl"});
    std::vector<char *> argv;
    for (std::string &a : args)
      argv.push_back(a.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    Run r;
    r.code = trainerMain(int(argv.size()), argv.data(), p);
    testing::internal::GetCapturedStdout();
    r.err = testing::internal::GetCapturedStderr();
    std::ifstream f(dir / "log.jsonl");
    for (std::string line; std::getline(f, line);)
      r.log.push_back(nlohmann::json::parse(line));
    return r;
  }

  /// Loss and gradient of the four rows together, in double.
  double reference(const Doubles &t, Doubles &grad) {
    const int64_t ids[12] = {0, 1, 2, 3, 4, 0, 1, 1, 2, 4, 3, 2};
    const int64_t next[12] = {1, 2, -1, 4, -1, -1, 1, 2, -1, 3, 2, -1};
    grad.assign(25, 0);
    double loss = 0;
    for (int i = 0; i < 12; ++i) {
      if (next[i] < 0)
        continue;
      double sum = 0;
      for (int j = 0; j < 5; ++j)
        sum += std::exp(t[ids[i] * 5 + j]);
      loss += (std::log(sum) - t[ids[i] * 5 + next[i]]) / 7;
      for (int j = 0; j < 5; ++j)
        grad[ids[i] * 5 + j] += (std::exp(t[ids[i] * 5 + j]) / sum - (j == next[i])) / 7;
    }
    return loss;
  }
};

double norm(const Doubles &v) {
  double s = 0;
  for (double x : v)
    s += x * x;
  return std::sqrt(s);
}
} // namespace

TEST(Trainer, SGDWithMomentumClippingAndAccumulationByHand) {
  Trainer t(OptimizerKind::sgd);
  auto r = t.run({"--data", t.dir.path, "--steps", "4", "--lr", "0.5", "--momentum", "0.9",
                  "--clip", "0.2", "--accumulate", "2", "--dump-grads", t.dir / "g.safetensors"});
  ASSERT_EQ(r.code, 0) << r.err;
  ASSERT_EQ(r.log.size(), 4u);
  Doubles w(t.table.begin(), t.table.end()), g, buf(25);
  for (int step = 1; step <= 4; ++step) {
    double loss = t.reference(w, g), n = norm(g);
    const auto &line = r.log[step - 1];
    EXPECT_EQ(line["step"], step);
    EXPECT_NEAR(line["loss"], loss, 1e-5);
    EXPECT_NEAR(line["grad_norm"], n, 1e-5);
    EXPECT_EQ(line["lr"], 0.5);
    EXPECT_GT(line["tokens_per_second"], 0);
    if (step == 1) {
      Safetensors dump(t.dir / "g.safetensors");
      ASSERT_EQ(dump.tensors().size(), 1u);
      const TensorView &view = dump.tensors().at("table"); // "m." is dropped
      Floats got(25);
      std::memcpy(got.data(), view.data.data, 100);
      expectNear(got, g, 1e-6); // before clipping
    }
    for (int i = 0; i < 25; ++i) {
      double d = g[i] * std::min(1.0, 0.2 / (n + 1e-6));
      buf[i] = step == 1 ? d : 0.9 * buf[i] + d;
      w[i] -= 0.5 * buf[i];
    }
  }
}

namespace {
int prepared, checked;
void prepareShadows(Context &ctx) {
  hostStatements(ctx, [](Context &ctx) {
    ++prepared;
    convert(ctx, 32, ctx.param(0), ctx.shadow<bf16>(0));
  });
}
void checkShadows(Context &ctx) {
  hostStatements(ctx, [](Context &ctx) {
    for (int i = 0; i < 32; ++i)
      checked += ctx.shadow<bf16>(0)[i].bits == bf16(ctx.param(0)[i]).bits;
    statements(ctx);
  });
}
} // namespace

TEST(Trainer, PreparesOnceAStepForAllMicroBatches) {
  Trainer t(OptimizerKind::adamw);
  t.p.prepare = prepareShadows;
  t.p.shadowBytes = 64;
  t.p.microStep = checkShadows;
  prepared = checked = 0;
  auto r = t.run({"--data", t.dir.path, "--steps", "3", "--lr", "0.5", "--accumulate", "2"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(prepared, 3);
  EXPECT_EQ(checked, 3 * 2 * 32);
}

TEST(Trainer, SchedulesAndWarmup) {
  Trainer t(OptimizerKind::adamw);
  auto rates = [&](const std::string &schedule) {
    auto r = t.run({"--data", t.dir.path, "--accumulate", "2", "--steps", "6", "--lr", "0.1",
                    "--warmup", "2", "--lr-schedule", schedule});
    EXPECT_EQ(r.code, 0) << r.err;
    Doubles v;
    for (auto &line : r.log)
      v.push_back(line["lr"]);
    return v;
  };
  expectNear(rates("constant"), Doubles{0.05, 0.1, 0.1, 0.1, 0.1, 0.1}, 1e-9);
  expectNear(rates("linear"), Doubles{0.05, 0.1, 0.1, 0.075, 0.05, 0.025}, 1e-9);
  Doubles cosine = rates("cosine");
  EXPECT_NEAR(cosine[2], 0.1, 1e-9);
  EXPECT_NEAR(cosine[4], 0.05, 1e-9);
}

TEST(Trainer, DecayOfMatricesOnlySparesVectors) {
  Trainer t(OptimizerKind::adamw);
  const int64_t flat[] = {25};
  auto last = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"--data", t.dir.path, "--accumulate", "2", "--steps", "5",
                                     "--lr", "0.1", "--weight-decay", "0.5"};
    args.insert(args.end(), more.begin(), more.end());
    return double(t.run(args).log.back()["loss"]);
  };
  double all = last({}), matrices = last({"--decay", "matrices"});
  EXPECT_EQ(all, matrices);
  t.param.rank = 1;
  t.param.shape = flat;
  EXPECT_NE(last({"--decay", "matrices"}), all);
  EXPECT_EQ(last({"--decay", "all"}), all);
}

TEST(Trainer, WrongUsageIsCodeOneWithOneSentence) {
  Trainer t(OptimizerKind::adamw);
  auto error = [&](std::vector<std::string> args) {
    auto r = t.run(args);
    EXPECT_EQ(r.code, 1);
    EXPECT_EQ(r.err.rfind("error: ", 0), 0u) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    return r.err;
  };
  EXPECT_NE(error({}).find("--data is missing"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--stepz", "3"}).find("--stepz"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--steps", "0"}).find("--steps is 0; use 1 or more"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--lr-schedule", "step"}).find("constant, linear or cosine"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--documents", "cut"}).find("--documents is 'cut'; use join or keep"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--mix", "1@3"}).find("--mix is for token files"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path, "--momentum", "0.9"}).find("no meaning for AdamW"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir.path}).find("leading dimension of 4"), std::string::npos);
  EXPECT_NE(error({"--data", t.dir / "nothing"}).find("does not exist"), std::string::npos);
  t.p.abi = 77;
  EXPECT_NE(error({"--data", t.dir.path, "--accumulate", "2"}).find("version 77"), std::string::npos);
}

TEST(Trainer, HelpNamesEveryFlagOfTheContract) {
  Trainer t(OptimizerKind::adamw);
  std::vector<std::string> args = {"trainer", "--help"};
  char *argv[] = {args[0].data(), args[1].data()};
  testing::internal::CaptureStdout();
  EXPECT_EQ(trainerMain(2, argv, t.p), 0);
  std::string help = testing::internal::GetCapturedStdout();
  for (const char *flag :
       {"--data", "--steps", "--lr", "--lr-schedule", "--warmup", "--beta1", "--beta2", "--eps",
        "--weight-decay", "--decay", "--momentum", "--clip", "--accumulate", "--seed", "--log",
        "--weights", "--dump-grads", "--threads", "--mix", "--documents", "--checkpoint",
        "--checkpoint-every", "--keep", "--async-checkpoint", "--resume"})
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
}

TEST(Trainer, ADivergedRunIsCodeTwo) {
  Trainer t(OptimizerKind::sgd);
  t.table[0] = INFINITY;
  write(t.model, bytes(t.table));
  t.p.numFiles = 0;
  auto r = t.run({"--data", t.dir.path, "--accumulate", "2"});
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("of step 1 is not finite"), std::string::npos);
}

TEST(Trainer, SameSeedSameBits) {
  Trainer t(OptimizerKind::adamw);
  std::vector<uint16_t> tokens;
  for (int i = 0; i < 200; ++i)
    tokens.push_back(uint16_t(i * i % 5));
  write(t.dir / "d.bin", tokenFile(20240520, 1, 200, tokens));
  auto a = t.run({"--data", t.dir / "d.bin", "--steps", "9", "--accumulate", "3", "--seed", "4"});
  auto b = t.run({"--data", t.dir / "d.bin", "--steps", "9", "--accumulate", "3", "--seed", "4"});
  ASSERT_EQ(a.code, 0) << a.err;
  for (size_t i = 0; i < a.log.size(); ++i)
    EXPECT_EQ(a.log[i]["loss"], b.log[i]["loss"]);
  EXPECT_LT(a.log.back()["loss"], a.log.front()["loss"]);
}

TEST(Trainer, WeightsOfFilesChangeWhenSoManyStepsAreDone) {
  Trainer t(OptimizerKind::sgd);
  const std::string a = t.dir / "a.bin", b = t.dir / "b.bin";
  write(a, tokenFile(20240520, 1, 40, std::vector<uint16_t>(40, 1)));
  write(b, tokenFile(20240520, 1, 40, std::vector<uint16_t>(40, 2)));
  auto losses = [&](const std::string &data, std::vector<std::string> more) {
    std::vector<std::string> args = {"--data", data, "--lr", "0", "--steps", "5", "--accumulate", "2"};
    args.insert(args.end(), more.begin(), more.end());
    auto r = t.run(args);
    EXPECT_EQ(r.code, 0) << r.err;
    Doubles v;
    for (auto &line : r.log)
      v.push_back(line["loss"]);
    return v;
  };
  const double ofA = losses(a, {})[0], ofB = losses(b, {})[0];
  EXPECT_GT(std::abs(ofA - ofB), 0.01);
  expectNear(losses(a + ":1," + b + ":0", {"--mix", "0,1@2", "1,0@4"}),
             Doubles{ofA, ofA, ofB, ofB, ofA}, 1e-6);
}
