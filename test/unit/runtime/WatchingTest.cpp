//===- WatchingTest.cpp - ProgressLine line, log and events of a run ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "FileUtil.h"
#include "RankProgram.h"
#include "TestUtil.h"
#include "moire/rt/routing.h"
#include "train/event_file.h"
#include "train/expert_load.h"
#include "train/peak_flops.h"
#include "train/progress.h"
#include "train/wire.h"

#include <fcntl.h>
#include <map>
#include <nlohmann/json.hpp>
#include <pty.h>
#include <random>
#include <sys/ioctl.h>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// The definition: division by the polynomial 1EDC6F41, lowest bit first.
uint32_t plainCrc(const std::string &bytes) {
  uint32_t crc = 0xffffffff;
  for (unsigned char byte : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool odd = (crc ^ byte >> bit) & 1;
      crc >>= 1;
      if (odd)
        crc ^= 0x82f63b78;
    }
  return crc ^ 0xffffffff;
}

template <typename T> T numberAt(const std::string &bytes, size_t at) {
  T value = {};
  std::memcpy(&value, bytes.substr(at).data(), sizeof value);
  return value;
}

/// The records of a file whose lengths and sums are right.
std::vector<std::string> recordsOf(const std::string &path) {
  const std::string file = read(path);
  std::vector<std::string> records;
  auto sumAt = [&](size_t at) { // unmasked
    const uint32_t rotated = numberAt<uint32_t>(file, at) - 0xa282ead8;
    return rotated >> 17 | rotated << 15;
  };
  for (size_t at = 0; at < file.size();) {
    const auto size = size_t(numberAt<uint64_t>(file, at));
    EXPECT_EQ(sumAt(at + 8), plainCrc(file.substr(at, 8)));
    if (at + 16 + size > file.size()) {
      ADD_FAILURE() << "a record of " << size << " bytes is cut off";
      break;
    }
    records.push_back(file.substr(at + 12, size));
    EXPECT_EQ(sumAt(at + 12 + size), plainCrc(records.back()));
    at += 16 + size;
  }
  return records;
}

struct Event {
  double wallTime = 0;
  int64_t step = 0;
  std::string version;
  bool begins = false; ///< SessionLog::START
  std::map<std::string, float> scalars;
};
Span spanOf(const std::string &s) {
  return {reinterpret_cast<const unsigned char *>(s.data()), int64_t(s.size())};
}
Event eventOf(const std::string &record) {
  Event event;
  for (WireReader r(spanOf(record), "event"); r.next();) {
    if (r.field == 1)
      event.wallTime = numberAt<double>(r.bytes.str(), 0);
    else if (r.field == 2)
      event.step = int64_t(r.value);
    else if (r.field == 3)
      event.version = r.bytes.str();
    else if (r.field == 7)
      event.begins = r.bytes.str() == "\x08\x01"; // status = 1
    else if (r.field == 5)
      for (WireReader value(r.bytes, "summary"); value.next();) {
        std::string tag;
        for (WireReader v(value.bytes, "value"); v.next();) {
          if (v.field == 1)
            tag = v.bytes.str();
          else if (v.field == 2)
            event.scalars[tag] = numberAt<float>(v.bytes.str(), 0);
        }
      }
  }
  return event;
}

std::vector<std::string> filesOf(const std::string &folder) {
  std::vector<std::string> files;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path());
  return files;
}

struct Outcome {
  int code = 0;
  std::string out, err;
  std::vector<nlohmann::json> log;
};
struct Watched {
  TempFolder dir;
  RankProgram program;

  explicit Watched(const std::string &mesh) : program(mesh) {
    std::vector<uint16_t> ids;
    std::mt19937 gen(8);
    for (int i = 0; i < 2000; ++i)
      ids.push_back(uint16_t(gen() % RankProgram::kVocab));
    write(dir / "tokens.bin", tokenFile(20240520, 1, int(ids.size()), ids));
  }
  Outcome run(std::vector<std::string> args) {
    args.insert(args.begin(), {"trainer", "--data", dir / "tokens.bin"});
    std::vector<char *> argv;
    for (std::string &a : args)
      argv.push_back(a.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    Outcome r;
    r.code = trainerMain(int(argv.size()), argv.data(), program.p);
    r.out = testing::internal::GetCapturedStdout();
    r.err = testing::internal::GetCapturedStderr();
    std::ifstream log(dir / "log.jsonl");
    for (std::string line; std::getline(log, line);)
      r.log.push_back(nlohmann::json::parse(line));
    return r;
  }
};

StepRecord record() {
  StepRecord r{};
  r.step = 120;
  r.loss = 3.21456;
  r.lr = 3e-4;
  r.gradNorm = 0.5312;
  r.seconds = 2;
  r.tokensPerSecond = 12345;
  r.mfu = 0.412;
  r.hfu = 0.45;
  r.memory = 1200000000;
  r.memoryPeak = 1400000000;
  return r;
}
} // namespace

TEST(Watching, Crc32cOfRfc3720) {
  std::string rising(32, 0), falling(32, 0);
  for (int i = 0; i < 32; ++i) {
    rising[i] = char(i);
    falling[i] = char(31 - i);
  }
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(falling), 0x113fdb5cu);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
}

TEST(Watching, EventsSayWhatTheLogSays) {
  Watched w("dp=2");
  w.program.p.modelFlops = 3000000;
  w.program.p.hardwareFlops = 4000000;
  const Outcome r =
      w.run({"--steps", "5", "--accumulate", "3", "--lr", "0.01", "--log", w.dir / "log.jsonl",
             "--tensorboard", w.dir / "new/events", "--peak-tflops", "0.001"});
  ASSERT_EQ(r.code, 0) << r.err;
  const std::vector<std::string> files = filesOf(w.dir / "new/events");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_NE(files[0].find("/events.out.tfevents."), std::string::npos);
  const std::vector<std::string> records = recordsOf(files[0]);
  ASSERT_EQ(records.size(), 6u);
  EXPECT_EQ(eventOf(records[0]).version, "brain.Event:2");
  EXPECT_GT(eventOf(records[0]).wallTime, 1.7e9);
  ASSERT_EQ(r.log.size(), 5u);
  for (int step = 1; step <= 5; ++step) {
    const Event event = eventOf(records[step]);
    const nlohmann::json &line = r.log[step - 1];
    EXPECT_EQ(event.step, step);
    ASSERT_EQ(event.scalars.size(), 5u);
    for (auto &[tag, value] : event.scalars)
      EXPECT_NEAR(value, double(line[tag]), 1e-6 * std::abs(double(line[tag]))) << tag;
  }
}

TEST(Watching, EventsOfARunThatGoesOnTakeThePlaceOfLaterSteps) {
  TempFolder dir;
  { EventFile(dir.path, 0).add(1, {{"loss", 2}}); }
  { EventFile(dir.path, 7).add(8, {{"loss", 1}}); }
  std::vector<std::string> files = filesOf(dir.path); // one name, .0 and .1, where it is one second
  std::sort(files.begin(), files.end());
  ASSERT_EQ(files.size(), 2u);
  ASSERT_EQ(recordsOf(files[0]).size(), 2u);
  const std::vector<std::string> records = recordsOf(files[1]);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_TRUE(eventOf(records[1]).begins);
  EXPECT_EQ(eventOf(records[1]).step, 8);
  EXPECT_EQ(eventOf(records[2]).step, 8);
  EXPECT_EQ(eventOf(records[2]).scalars.at("loss"), 1);
}

TEST(Watching, UtilizationIsFlopsOverPeakOfAllRanks) {
  Watched w("dp=2");
  w.program.p.modelFlops = 3000000;
  w.program.p.hardwareFlops = 4000000;
  const Outcome r = w.run(
      {"--steps", "4", "--accumulate", "3", "--log", w.dir / "log.jsonl", "--peak-tflops", "0.5"});
  ASSERT_EQ(r.code, 0) << r.err;
  for (const nlohmann::json &line : r.log) {
    // Two ranks, three micro-batches each, of 2 x 3 tokens.
    EXPECT_NEAR(double(line["mfu"]) * double(line["seconds"]), 6 * 3e6 / (2 * 0.5e12), 1e-10);
    EXPECT_NEAR(double(line["hfu"]) * double(line["seconds"]), 6 * 4e6 / (2 * 0.5e12), 1e-10);
    EXPECT_NEAR(double(line["tokens_per_second"]) * double(line["seconds"]), 36, 1e-5);
    EXPECT_EQ(line["tokens_seen"], 36 * int64_t(line["step"]));
    EXPECT_GT(line["memory"], 1000000);
    EXPECT_GE(line["memory_peak"], line["memory"]);
  }
  EXPECT_NE(r.out.find("FLOPs of a micro-batch: 3e+06 of the model, 4e+06 computed; peak of a rank "
                       "0.5 TFLOP/s"),
            std::string::npos)
      << r.out;
}

TEST(Watching, WithoutPeakOrFlopsNoUtilization) {
  Watched w("dp=1");
  w.program.p.modelFlops = w.program.p.hardwareFlops = 3000000;
  EXPECT_FALSE(w.run({"--steps", "1", "--log", w.dir / "log.jsonl"}).log.at(0).contains("mfu"));
  w.program.p.modelFlops = w.program.p.hardwareFlops = 0;
  const Outcome r = w.run({"--steps", "1", "--log", w.dir / "log.jsonl", "--peak-tflops", "1"});
  EXPECT_FALSE(r.log.at(0).contains("mfu"));
  EXPECT_EQ(r.err.find("mfu"), std::string::npos);
}

TEST(Watching, PeaksOfGpusByName) {
  EXPECT_EQ(knownPeakFlops("NVIDIA H100 80GB HBM3", true), 989e12);
  EXPECT_EQ(knownPeakFlops("NVIDIA H100 PCIe", true), 756e12);
  EXPECT_EQ(knownPeakFlops("NVIDIA H200", false), 67e12);
  EXPECT_EQ(knownPeakFlops("NVIDIA GeForce RTX 9999", true), 0);
  EXPECT_EQ(knownPeakFlops("16 threads", true), 0);
}

TEST(Watching, TheLineFitsTheTerminal) {
  EXPECT_EQ(ProgressLine::text(record(), 1000, 3725, 0),
            "step 120/1000  loss 3.2146  lr 0.0003  norm 0.531  12345 tok/s  mfu 41.2% (hfu 45.0%)"
            "  mem 1.20 GB (peak 1.40 GB)  eta 1:02:05");
  EXPECT_EQ(ProgressLine::text(record(), 1000, 125, 79),
            "step 120/1000  loss 3.2146  lr 0.0003  norm 0.531  12345 tok/s  eta 2:05");
  EXPECT_EQ(ProgressLine::text(record(), 1000, 200000, 50),
            "step 120/1000  loss 3.2146  eta 2d 07h");
  EXPECT_EQ(ProgressLine::text(record(), 1000, 1, 10), "step 120/1");
  for (int width = 1; width < 130; ++width)
    EXPECT_LE(ProgressLine::text(record(), 1000, 125, width).size(), size_t(width));
  // The last step needs no time, and what is not known is not told.
  StepRecord last{};
  last.step = 1000;
  EXPECT_EQ(ProgressLine::text(last, 1000, 0, 0),
            "step 1000/1000  loss 0.0000  lr 0  norm 0  0 tok/s");
}

TEST(Watching, OnATerminalOneLineIsRewritten) {
  winsize size = {};
  size.ws_col = 41;
  size.ws_row = 24;
  int terminal, ours;
  ASSERT_EQ(openpty(&terminal, &ours, nullptr, nullptr, &size), 0);
  const int before = dup(STDERR_FILENO);
  std::fflush(stderr);
  dup2(ours, STDERR_FILENO);
  {
    ProgressLine progress(1000);
    StepRecord r = record();
    for (r.step = 1; r.step <= 1000; ++r.step)
      progress.step(r);
  }
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  close(ours);
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  std::string text(1 << 16, '\0');
  text.resize(size_t(std::max<ssize_t>(0, ::read(terminal, text.data(), text.size()))));
  close(terminal);
  // The first and the last, and what came in between at ten a second.
  EXPECT_EQ(text.rfind("\rstep 1/1000  loss 3.2146  ", 0), 0u) << text;
  EXPECT_NE(text.find("\rstep 1000/1000  loss 3.2146  12345 tok/s\033[K"), std::string::npos)
      << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\r'), 50) << text;
}

TEST(Watching, ElsewhereAboutTwentyLines) {
  Watched w("dp=1");
  const Outcome r = w.run({"--steps", "200"});
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 21) << r.err; // the first one, too
  EXPECT_EQ(r.err.find('\r'), std::string::npos);
}

TEST(Watching, RowsOfExpertsAreAddedUpByRouter) {
  RankProgram program("dp=1");
  const RouterInfo routers[] = {{"first", 2, 6, 0}, {"second", 3, 4, 2}};
  program.p.numRouters = 2;
  program.p.routers = routers;
  Context ctx(program.p, 1);
  std::vector<char> memory(Routing::bytes(3, 2, 2));
  const Routing first = Routing::at(memory.data(), 3, 2, 2);
  countRows(ctx, 0, first); // nobody asks: not counted, nor anything written
  ExpertLoad load(ctx);
  std::vector<char> others(Routing::bytes(2, 2, 3));
  const Routing second = Routing::at(others.data(), 2, 2, 3);
  const std::vector<int64_t> ids = {0, 1, 1, -1, 1, 0}, more = {2, -1, 0, 2};
  route(ctx, first, ids.data());
  route(ctx, second, more.data());
  countRows(ctx, 0, first);
  countRows(ctx, 1, second);
  load.endStep(1);
  // A stage whose functions begin with the second router; what ran for nothing does not count.
  ctx.second.firstRouter = 1;
  load.mark();
  countRows(ctx, 0, first);
  load.backToMark();
  countRows(ctx, 0, first);
  countRows(ctx, ctx.second, 0, second);
  load.endStep(1);
  std::vector<RouterLoad> told = load.take();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].name, "first");
  EXPECT_EQ(told[0].tokens, (std::vector<int64_t>{4, 6}));
  EXPECT_EQ(told[0].dropped, 2);
  EXPECT_DOUBLE_EQ(told[0].maxOverMean(), 1.2);
  EXPECT_EQ(told[1].tokens, (std::vector<int64_t>{2, 0, 4}));
  EXPECT_EQ(told[1].dropped, 2);
  EXPECT_DOUBLE_EQ(told[1].maxOverMean(), 2);
  // From the start again.
  load.endStep(3);
  told = load.take();
  EXPECT_EQ(told[0].tokens, (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(told[0].dropped, 18);
  EXPECT_EQ(told[0].maxOverMean(), 0);
}

TEST(Watching, WrongInputIsOneSentence) {
  Watched w("dp=1");
  write(w.dir / "file", "");
  auto error = [&](std::vector<std::string> args) {
    const Outcome r = w.run(args);
    EXPECT_EQ(r.code, 1);
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    return r.err;
  };
  EXPECT_EQ(error({"--peak-tflops", "-3"}), "error: --peak-tflops is -3; use more than 0\n");
  EXPECT_EQ(error({"--peak-tflops", "0"}), "error: --peak-tflops is 0; use more than 0\n");
  EXPECT_EQ(error({"--tensorboard", w.dir / "file"}),
            "error: cannot write --tensorboard '" + (w.dir / "file") + "': Not a directory\n");
  EXPECT_EQ(error({"--tensorboard", w.dir / "file/below"}), "error: cannot write --tensorboard '" +
                                                                (w.dir / "file/below") +
                                                                "': Not a directory\n");
  EXPECT_EQ(error({"--expert-log", "5", "--log", w.dir / "log.jsonl"}),
            "error: --expert-log is 5, and the program has no routers of experts; leave it out\n");
  EXPECT_EQ(error({"--log", w.dir / "none/log.jsonl"}), "error: cannot write --log '" +
                                                            (w.dir / "none/log.jsonl") +
                                                            "': No such file or directory\n");
}
