//===- prefetch.cpp - Reads the next step's data during a step -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/prefetch.h"

#include <utility>

namespace moire::rt {

Prefetch::Prefetch(std::unique_ptr<DataSource> source, const std::vector<const Program *> &lengths,
                   int64_t most, int64_t shard, int64_t shards)
    : source(std::move(source)), shard(shard), shards(shards) {
  for (auto &step : batches)
    for (const Program *length : lengths) {
      std::vector<MicroBatch> &own = step.emplace_back();
      for (int64_t i = 0; i < most; ++i)
        own.emplace_back(*length);
    }
  thread = std::thread([this] { run(); });
}

Prefetch::~Prefetch() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopped = true;
  }
  changed.notify_all();
  thread.join();
}

void Prefetch::request(Want want) {
  wanted = want;
  error = nullptr;
  reading = want.micros > 0;
  changed.notify_all();
}

const MicroBatch *Prefetch::take(Want now, Want next) {
  std::unique_lock<std::mutex> lock(mutex);
  const auto idle = [this] { return !reading; };
  changed.wait(lock, idle);
  if (!(wanted == now)) {
    request(now);
    changed.wait(lock, idle);
  }
  if (error)
    std::rethrow_exception(error);
  std::swap(batches[0], batches[1]);
  request(next);
  return batches[0][now.length].data();
}

void Prefetch::run() {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return reading || stopped; });
    std::exception_ptr failed;
    for (int64_t i = 0; i < wanted.micros && !stopped && !failed; ++i) {
      lock.unlock();
      try {
        source->read(wanted.rowsBefore, i * shards + shard, batches[1][wanted.length][i]);
      } catch (...) {
        failed = std::current_exception();
      }
      lock.lock();
    }
    if (stopped)
      return;
    error = failed;
    reading = false;
    changed.notify_all();
  }
}

} // namespace moire::rt
