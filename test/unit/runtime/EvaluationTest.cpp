//===- EvaluationTest.cpp - The loss of data that is not trained on -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "StagesUtil.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int64_t kBatch = StageProgram::kBatch, kSeq = StageProgram::kSeq;

struct Evaluations : Stages {
  std::string held = dir / "held.bin"; ///< of seven rows, which is no multiple of a micro-batch
  Evaluations() {
    std::vector<uint16_t> ids;
    std::mt19937 gen(11);
    for (int64_t i = 0; i < 7 * kSeq + 1; ++i)
      ids.push_back(uint16_t(gen() % StageProgram::kVocab));
    write(held, tokenFile(20240520, 1, int(ids.size()), ids));
  }

  double loss(const Program &p, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--eval", held, "--eval-only"});
    const StagesResult r = run(p, flags);
    EXPECT_EQ(r.code, 0) << r.err;
    if (r.log.size() != 1)
      throw RunError("no loss in the log");
    return r.log[0]["eval_loss"];
  }

  std::string refusal(std::vector<std::string> flags) {
    const auto whole = StageProgram::whole(2);
    const StagesResult r = run(whole->p, flags);
    EXPECT_EQ(r.code, 1) << r.err;
    return r.err;
  }
};
} // namespace

TEST(Evaluation, IsTheMeanOfWhatStepsWouldHave) {
  Evaluations t;
  const auto whole = StageProgram::whole(2);
  // Steps that change nothing, over the same rows in the same order: that of seed 0.
  const StagesResult steps =
      t.run(whole->p, {"--steps", "3", "--lr", "0", "--data", t.held, "--seed", "0"});
  ASSERT_EQ(steps.code, 0) << steps.err;
  double sum = 0;
  for (int64_t done = 1; done <= 3; ++done) {
    sum += double(steps.log[done - 1]["loss"]);
    EXPECT_NEAR(t.loss(whole->p, {"--seed", "0", "--eval-rows", std::to_string(done * kBatch)}),
                sum / done, 1e-6);
  }
}

TEST(Evaluation, ARowCountsAlikeInAnyMicroBatch) {
  Evaluations t;
  const auto whole = StageProgram::whole(2);
  double before = 0;
  std::vector<double> ofRow[2];
  for (int64_t accumulate : {1, 2}) {
    before = 0;
    for (int64_t rows = 1; rows <= 7; ++rows) {
      const double sum = rows * t.loss(whole->p, {"--eval-rows", std::to_string(rows),
                                                  "--accumulate", std::to_string(accumulate)});
      ofRow[accumulate - 1].push_back(sum - before);
      before = sum;
    }
  }
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(ofRow[0][i], ofRow[1][i], 1e-5);
    for (size_t j = 0; j < i; ++j)
      EXPECT_GT(std::abs(ofRow[0][i] - ofRow[0][j]), 1e-4); // they differ
  }
  EXPECT_NEAR(t.loss(whole->p, {}), before / 7, 1e-6); // all there are
}

TEST(Evaluation, IsTheSameInEveryPlacement) {
  Evaluations t;
  for (const char *name : {"1f1b", "v", "vw", "dual", "v,dp=2", "dual,dp=2,zero=2"}) {
    SCOPED_TRACE(name);
    const Placement placement = placementOf(name);
    const auto whole = StageProgram::whole(placement.stages());
    const StageProgram program(placement);
    EXPECT_NEAR(t.loss(program.p, {}), t.loss(whole->p, {}), 1e-6);
    EXPECT_NEAR(t.loss(program.p, {"--accumulate", "2"}), t.loss(whole->p, {}), 1e-6);
  }
}

TEST(Evaluation, ChangesNothingOfTheTraining) {
  Evaluations t;
  for (const char *name : {"whole", "1f1b", "dual"}) {
    SCOPED_TRACE(name);
    std::unique_ptr<StageProgram> program = std::string(name) == "whole"
                                                ? StageProgram::whole(2)
                                                : std::make_unique<StageProgram>(placementOf(name));
    const StagesResult alone = t.run(program->p, {"--steps", "5"});
    ASSERT_EQ(alone.code, 0) << alone.err;
    StagesResult watched =
        t.run(program->p, {"--steps", "5", "--eval", t.held, "--eval-every", "2"});
    ASSERT_EQ(watched.code, 0) << watched.err;
    std::vector<int64_t> at;
    std::vector<nlohmann::json> steps;
    for (const nlohmann::json &line : watched.log)
      if (line.contains("eval_loss"))
        at.push_back(line["step"]);
      else
        steps.push_back(line);
    EXPECT_EQ(steps, alone.log);
    EXPECT_EQ(at, (std::vector<int64_t>{2, 4, 5}));
    EXPECT_TRUE(watched.gradients == alone.gradients);
    // It falls, or rises, with the parameters.
    EXPECT_NE(watched.log[2]["eval_loss"], watched.log.back()["eval_loss"]);
  }
}

TEST(Evaluation, SaysWhatIsWrong) {
  Evaluations t;
  EXPECT_NE(t.refusal({"--eval-only"}).find("--eval-only needs --eval"), std::string::npos);
  EXPECT_NE(t.refusal({"--eval-every", "3"}).find("--eval-every is for --eval; add that"),
            std::string::npos);
  EXPECT_NE(
      t.refusal({"--eval", t.held, "--eval-rows", "0"}).find("--eval-rows is 0; use 1 or more"),
      std::string::npos);
  EXPECT_NE(t.refusal({"--eval", t.dir / "none.bin"}).find("none.bin' does not exist"),
            std::string::npos);
}
