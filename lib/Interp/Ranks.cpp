//===- Ranks.cpp - Several ranks of one program in one process -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/Ranks.h"
#include "llvm/ADT/STLExtras.h"
#include <atomic>
#include <thread>

using namespace mlir;
using namespace moire;
using namespace moire::interp;

//===----------------------------------------------------------------------===//
// Meetings
//===----------------------------------------------------------------------===//

FailureOr<std::vector<RuntimeValue>> Meetings::meet(int64_t rank, Operation *op, ArrayAttr axes,
                                                    RuntimeValue mine) {
  SmallVector<int64_t> group = mesh.getGroup(rank, axes);
  const int64_t index = llvm::find(group, rank) - group.begin();
  std::unique_lock<std::mutex> lock(mutex);
  Place &place = places[{axes.getAsOpaquePointer(), group.front()}];
  // The last round's members may still be reading.
  changed.wait(lock, [&] { return cancelled || place.leaving == 0; });
  if (cancelled)
    return failure();
  if (place.came == 0) {
    place.op = op;
    place.values.assign(group.size(), {});
  } else if (place.op != op) {
    InFlightDiagnostic error = op->emitOpError("rank ")
                               << rank << " is here, but another of its group is at another op";
    error.attachNote(place.op->getLoc()) << "the other is here";
    error.report();
    cancelled = true;
    changed.notify_all();
    return failure();
  }
  place.values[index] = std::move(mine);
  if (++place.came == (int64_t)group.size()) {
    place.came = 0;
    place.leaving = group.size();
    ++place.round;
    changed.notify_all();
  } else {
    changed.wait(lock, [&, round = place.round] { return cancelled || place.round != round; });
    if (cancelled)
      return failure();
  }
  std::vector<RuntimeValue> values = place.values;
  if (--place.leaving == 0) {
    place.values.clear();
    changed.notify_all();
  }
  return values;
}

void Meetings::send(int64_t from, int64_t to, const Letter &letter, Mail mail) {
  std::lock_guard<std::mutex> lock(mutex);
  letters[{from, to, letter}] = std::move(mail);
  changed.notify_all();
}

FailureOr<Meetings::Mail> Meetings::receive(int64_t from, int64_t to, const Letter &letter) {
  std::unique_lock<std::mutex> lock(mutex);
  const std::tuple<int64_t, int64_t, Letter> key{from, to, letter};
  changed.wait(lock, [&] { return cancelled || letters.count(key); });
  if (cancelled)
    return failure();
  return std::move(letters.extract(key).mapped());
}

void Meetings::cancel() {
  std::lock_guard<std::mutex> lock(mutex);
  cancelled = true;
  changed.notify_all();
}

LogicalResult Meetings::forAllRanks(std::function<LogicalResult(int64_t)> fn) {
  std::atomic<bool> failedOnce = false;
  auto run = [&](int64_t rank) {
    if (succeeded(fn(rank)))
      return;
    failedOnce = true;
    cancel();
  };
  std::vector<std::thread> threads;
  for (int64_t rank = 1; rank < mesh.getRanks(); ++rank)
    threads.emplace_back(run, rank);
  run(0);
  for (std::thread &thread : threads)
    thread.join();
  return failure(failedOnce);
}

std::pair<int64_t, int64_t> Membership::place(ArrayAttr axes) const {
  SmallVector<int64_t> group = mesh().getGroup(rank, axes);
  return {llvm::find(group, rank) - group.begin(), (int64_t)group.size()};
}

//===----------------------------------------------------------------------===//
// Shards
//===----------------------------------------------------------------------===//

Tensor moire::interp::sumOf(ArrayRef<RuntimeValue> values) {
  Tensor sum = values.front().tensor();
  auto to = sum.edit<double>();
  for (const RuntimeValue &value : values.drop_front())
    for (auto [x, y] : llvm::zip_equal(to, value.tensor().floats()))
      x += y;
  return sum;
}

/// Calls fn(flat index in the whole, flat index in the shard) for all of the shard.
static void forEachElement(ArrayRef<int64_t> wholeShape, ArrayRef<int64_t> shardShape,
                           dist::ShardingAttr sharding, dist::MeshAttr mesh, int64_t rank,
                           llvm::function_ref<void(int64_t, int64_t)> fn) {
  // Where each index of the shard lies in the whole, dim by dim.
  SmallVector<SmallVector<int64_t>> origin;
  for (auto [dim, size] : llvm::enumerate(wholeShape)) {
    origin.emplace_back();
    for (auto [begin, end] : sharding.getRanges(dim, size, mesh, rank))
      for (int64_t i = begin; i < end; ++i)
        origin.back().push_back(i);
  }
  SmallVector<int64_t> strides = stridesOf(wholeShape);
  int64_t flat = 0;
  forEachIndex(shardShape, [&](ArrayRef<int64_t> index) {
    int64_t at = 0;
    for (auto [i, where, stride] : llvm::zip_equal(index, origin, strides))
      at += where[i] * stride;
    fn(at, flat++);
  });
}

Tensor moire::interp::shardOf(const Tensor &whole, dist::ShardingAttr sharding, dist::MeshAttr mesh,
                              int64_t rank) {
  if (!sharding || sharding.isReplicated())
    return whole;
  SmallVector<int64_t> shape;
  for (auto [dim, size] : llvm::enumerate(whole.shape())) {
    int64_t length = 0;
    for (auto [begin, end] : sharding.getRanges(dim, size, mesh, rank))
      length += end - begin;
    shape.push_back(length);
  }
  Tensor shard(whole.elementType(), shape);
  dispatch(whole, [&](auto t) {
    auto from = whole.get<decltype(t)>();
    auto to = shard.edit<decltype(t)>();
    forEachElement(whole.shape(), shape, sharding, mesh, rank,
                   [&](int64_t at, int64_t flat) { to[flat] = from[at]; });
  });
  return shard;
}

void moire::interp::insertShard(Tensor &whole, const Tensor &shard, dist::ShardingAttr sharding,
                                dist::MeshAttr mesh, int64_t rank) {
  if (!sharding || sharding.isReplicated()) {
    whole = shard;
    return;
  }
  dispatch(whole, [&](auto t) {
    auto from = shard.get<decltype(t)>();
    auto to = whole.edit<decltype(t)>();
    forEachElement(whole.shape(), shard.shape(), sharding, mesh, rank,
                   [&](int64_t at, int64_t flat) { to[at] = from[flat]; });
  });
}
