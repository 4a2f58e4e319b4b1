//===- PrefetchTest.cpp - Data that is read ahead --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/prefetch.h"
#include "DataUtil.h"

#include <atomic>
#include <chrono>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Seconds = std::chrono::duration<double>;

void sleepFor(double seconds) { std::this_thread::sleep_for(Seconds(seconds)); }

double secondsOf(const std::function<void()> &work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return Seconds(std::chrono::steady_clock::now() - begin).count();
}

/// Micro-batches that take their time and say which they are; from row `broken` on none can be
/// read.
struct Slow final : DataSource {
  double seconds;
  int64_t broken;
  std::atomic<int64_t> *reads;

  explicit Slow(double seconds, int64_t broken = -1, std::atomic<int64_t> *reads = nullptr)
      : seconds(seconds), broken(broken), reads(reads) {}
  void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) override {
    sleepFor(seconds);
    if (reads)
      ++*reads;
    if (broken >= 0 && rowsBefore >= broken)
      throw InputError("row " + std::to_string(rowsBefore) + " is broken");
    batch.blocks[0].as<int64_t>()[0] = rowsBefore;
    batch.blocks[0].as<int64_t>()[1] = micro;
  }
  int64_t rowsOfEpoch() const override { return int64_t(1) << 40; }
  std::string describe() const override { return "slow"; }
};
} // namespace

TEST(Prefetch, GivesEachStepItsOwnMicroBatches) {
  LanguageModel m;
  Prefetch data(std::make_unique<Slow>(0), {&m.p}, 3, 1, 2);
  for (int64_t step = 0; step < 50; ++step) {
    // Some steps are smaller, and some are others than was said.
    const int64_t micros = 1 + step % 3, next = 1 + (step + 1) % 3;
    const auto *batches = data.take({100 * step, micros}, {100 * (step + 1) + (step == 7), next});
    for (int64_t a = 0; a < micros; ++a)
      EXPECT_EQ(ints(batches[a], 0, 2), (std::vector<int64_t>{100 * step, 2 * a + 1}));
  }
}

TEST(Prefetch, AStepDoesNotWaitForDataThatComesFasterThanItIsUsed) {
  LanguageModel m;
  const int64_t steps = 8;
  const double reading = 0.02, computing = 0.06; // of a micro-batch, of a step of two
  const double without = secondsOf([&] {
    Slow source(reading);
    MicroBatch batch(m.p);
    for (int64_t step = 0; step < steps; ++step) {
      source.read(step, 0, batch);
      source.read(step, 1, batch);
      sleepFor(computing);
    }
  });
  double waited = 0;
  const double with = secondsOf([&] {
    Prefetch data(std::make_unique<Slow>(reading), {&m.p}, 2, 0, 1);
    for (int64_t step = 0; step < steps; ++step) {
      const double own = secondsOf([&] {
        data.take({step, 2}, {step + 1, step + 1 < steps ? 2 : 0});
      });
      waited += step ? own : 0;
      sleepFor(computing);
    }
  });
  RecordProperty("milliseconds_a_step_without", std::to_string(without / steps * 1e3));
  RecordProperty("milliseconds_a_step_with", std::to_string(with / steps * 1e3));
  EXPECT_LT(waited, steps * reading) << "half of what reading takes";
  EXPECT_LT(with, 0.85 * without);
}

TEST(Prefetch, AnErrorIsThatOfTheStepThatNeedsTheData) {
  LanguageModel m;
  Prefetch data(std::make_unique<Slow>(0, /*broken=*/2), {&m.p}, 1, 0, 1);
  data.take({0, 1}, {1, 1});
  data.take({1, 1}, {2, 1});
  sleepFor(0.01); // step 2 has failed by now, and step 1 goes on
  for (int again = 0; again < 2; ++again)
    try {
      data.take({2, 1}, {3, 1});
      FAIL() << "no error";
    } catch (const InputError &e) {
      EXPECT_STREQ(e.what(), "row 2 is broken");
    }
  EXPECT_EQ(data.take({1, 1}, {2, 1})[0].blocks[0].as<int64_t>()[0], 1);
}

TEST(Prefetch, EndsAfterTheMicroBatchThatIsBeingRead) {
  LanguageModel m;
  std::atomic<int64_t> reads = 0;
  {
    Prefetch data(std::make_unique<Slow>(0.02, -1, &reads), {&m.p}, 50, 0, 1);
    data.take({0, 1}, {1, 50});
    sleepFor(0.03);
  }
  EXPECT_LT(reads, 10);
}
