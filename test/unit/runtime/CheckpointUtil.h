//===- CheckpointUtil.h - Runs with checkpoints, for tests ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_CHECKPOINTUTIL_H
#define MOIRE_RUNTIME_CHECKPOINTUTIL_H

#include "FileUtil.h"
#include "LogUtil.h"
#include "TestUtil.h"
#include "moire/rt/program.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace moire::rt::test {

struct CheckpointRun {
  int code;
  std::string out, err;
  std::vector<nlohmann::json> log; ///< of all steps in the file, without times
};

/// Runs of small programs that share a folder.
struct CheckpointRuns {
  static constexpr int kVocab = 12;
  TempFolder dir;
  std::string data = dir / "tokens.bin";
  CheckpointRuns() {
    std::vector<uint16_t> ids;
    std::mt19937 gen(3);
    for (int i = 0; i < 5000; ++i)
      ids.push_back(uint16_t(gen() % kVocab));
    write(data, tokenFile(20240520, 1, int(ids.size()), ids));
  }

  std::vector<std::string> arguments(std::vector<std::string> args) const {
    args.insert(args.end(), {"--data", data, "--threads", "1"});
    return args;
  }

  /// The log is `log` in the folder.
  CheckpointRun run(const Program &p, std::vector<std::string> args,
                    const std::string &log = "log.jsonl") const {
    args = arguments(args);
    args.insert(args.begin(), "trainer");
    args.insert(args.end(), {"--log", dir / log});
    std::vector<char *> argv;
    for (std::string &a : args)
      argv.push_back(a.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    CheckpointRun r;
    r.code = trainerMain(int(argv.size()), argv.data(), p);
    r.out = testing::internal::GetCapturedStdout();
    r.err = testing::internal::GetCapturedStderr();
    r.log = steps(log);
    return r;
  }

  std::vector<nlohmann::json> steps(const std::string &log) const {
    std::vector<nlohmann::json> all;
    std::ifstream f(dir / log);
    for (std::string line; std::getline(f, line);) {
      all.push_back(nlohmann::json::parse(line));
      dropMeasured(all.back());
    }
    return all;
  }

  /// Names in a folder, in order.
  std::vector<std::string> names(const std::string &folder) const {
    std::vector<std::string> all;
    for (const auto &entry : std::filesystem::directory_iterator(dir / folder))
      all.push_back(entry.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }
};

using Names = std::vector<std::string>;

} // namespace moire::rt::test

#endif
