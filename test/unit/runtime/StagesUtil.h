//===- StagesUtil.h - Running small programs in stages, for tests ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_STAGESUTIL_H
#define MOIRE_RUNTIME_STAGESUTIL_H

#include "FileUtil.h"
#include "LogUtil.h"
#include "StageProgram.h"
#include "TestUtil.h"
#include "train/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

namespace moire::rt::test {

/// What a run left.
struct StagesResult {
  int code;
  std::string err, out;
  std::vector<nlohmann::json> log;
  std::map<std::string, Floats> gradients;
};

/// Runs of programs in stages on random tokens.
struct Stages {
  TempFolder dir;
  std::string data = dir / "tokens.bin";
  Stages() {
    std::vector<uint16_t> ids;
    std::mt19937 gen(3);
    for (int i = 0; i < 5000; ++i)
      ids.push_back(uint16_t(gen() % StageProgram::kVocab));
    write(data, tokenFile(20240520, 1, int(ids.size()), ids));
  }

  std::vector<std::string> arguments(std::vector<std::string> flags) {
    auto otherwise = [&](const char *flag, const std::string &value) {
      if (std::find(flags.begin(), flags.end(), flag) == flags.end())
        flags.insert(flags.end(), {flag, value});
    };
    otherwise("--lr", "0.001");
    otherwise("--data", data);
    otherwise("--seed", "4");
    flags.insert(flags.end(), {"--clip", "0.5", "--threads", "1", "--log", dir / "log.jsonl",
                               "--dump-grads", dir / "g.safetensors"});
    return flags;
  }

  /// What the last run left.
  void readInto(StagesResult &r) {
    std::ifstream f(dir / "log.jsonl");
    for (std::string line; std::getline(f, line);) {
      r.log.push_back(nlohmann::json::parse(line));
      dropMeasured(r.log.back());
    }
    if (!std::filesystem::exists(dir / "g.safetensors"))
      return;
    const Safetensors file(dir / "g.safetensors");
    for (auto &[name, t] : file.tensors()) {
      Floats v(t.elements());
      std::memcpy(v.data(), t.data.data, v.size() * 4);
      r.gradients[name] = v;
    }
  }
  void clean() {
    std::filesystem::remove(dir / "log.jsonl");
    std::filesystem::remove(dir / "g.safetensors");
  }

  StagesResult run(const Program &p, const std::vector<std::string> &flags) {
    clean();
    std::vector<std::string> args = arguments(flags);
    args.insert(args.begin(), "trainer");
    std::vector<char *> argv;
    for (std::string &a : args)
      argv.push_back(a.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    StagesResult r;
    r.code = trainerMain(int(argv.size()), argv.data(), p);
    r.out = testing::internal::GetCapturedStdout();
    r.err = testing::internal::GetCapturedStderr();
    readInto(r);
    return r;
  }
};

/// The same numbers; the gradient of `table` is added up in another order.
inline void expectSame(const StagesResult &got, const StagesResult &want, bool exact) {
  ASSERT_EQ(got.code, 0) << got.err;
  ASSERT_EQ(got.log.size(), want.log.size());
  EXPECT_EQ(got.log[0]["loss"], want.log[0]["loss"]);
  for (size_t step = 0; step < want.log.size(); ++step) {
    EXPECT_NEAR(got.log[step]["loss"], want.log[step]["loss"],
                1e-5 * double(want.log[step]["loss"]));
    EXPECT_NEAR(got.log[step]["grad_norm"], want.log[step]["grad_norm"],
                1e-4 * double(want.log[step]["grad_norm"]));
  }
  // Each parameter counts once, whichever ranks hold it.
  double squares = 0;
  for (auto &[name, gradient] : got.gradients)
    for (float g : gradient)
      squares += double(g) * g;
  EXPECT_NEAR(got.log[0]["grad_norm"], std::sqrt(squares), 1e-8 * std::sqrt(squares));
  ASSERT_EQ(got.gradients.size(), want.gradients.size());
  for (auto &[name, gradient] : want.gradients) {
    SCOPED_TRACE(name);
    if (exact && name != "table") {
      EXPECT_TRUE(got.gradients.at(name) == gradient);
    }
    expectNear(got.gradients.at(name), gradient, 1e-5);
  }
}

} // namespace moire::rt::test

#endif
