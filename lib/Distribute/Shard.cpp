//===- Shard.cpp - Pieces under changes of indices -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Shard.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

static int64_t product(ArrayRef<int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

bool distribute::fits(const Shard &shard, Type type, int64_t ranks) {
  if (!shard.isSplit())
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && shard.dim < tensor.getRank() &&
         std::accumulate(shard.blocks.begin(), shard.blocks.end(), int64_t(0)) ==
             tensor.getDimSize(shard.dim) &&
         llvm::all_of(shard.blocks, [&](int64_t size) { return size > 0 && size % ranks == 0; });
}

Type distribute::localType(Type type, const Shard &shard, int64_t ranks) {
  if (!shard.isSplit())
    return type;
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[shard.dim] /= ranks;
  return RankedTensorType::get(shape, tensor.getElementType());
}

std::optional<Shard> distribute::throughReshape(ArrayRef<int64_t> from, ArrayRef<int64_t> to,
                                                const Shard &shard, int64_t ranks) {
  // In row-major order a split repeats after as many elements as the dim and those after
  // it have together, its period. Under the other shape a dim may have the same cuts if
  // its period is a multiple of that one, or the other way round.
  int64_t inner = product(from.drop_front(shard.dim + 1));
  int64_t period = from[shard.dim] * inner;
  std::optional<Shard> best;
  for (int64_t dim = 0; dim < (int64_t)to.size(); ++dim) {
    int64_t otherInner = product(to.drop_front(dim + 1)), otherPeriod = to[dim] * otherInner;
    if (llvm::any_of(shard.blocks,
                     [&](int64_t size) { return size * inner % (otherInner * ranks) != 0; }))
      continue;
    SmallVector<int64_t, 3> cuts; // elements of each block in the other period
    if (otherPeriod % period == 0) {
      for (int64_t i = 0; i < otherPeriod / period; ++i)
        for (int64_t size : shard.blocks)
          cuts.push_back(size * inner);
    } else if (period % otherPeriod == 0) {
      size_t repeats = period / otherPeriod, blocks = shard.blocks.size() / repeats;
      if (shard.blocks.size() % repeats != 0)
        continue;
      bool same = true;
      for (size_t i = 0; i < shard.blocks.size(); ++i)
        same &= shard.blocks[i] == shard.blocks[i % blocks];
      if (!same)
        continue;
      for (int64_t size : ArrayRef(shard.blocks).take_front(blocks))
        cuts.push_back(size * inner);
      if (std::accumulate(cuts.begin(), cuts.end(), int64_t(0)) != otherPeriod)
        continue;
    } else {
      continue;
    }
    for (int64_t &size : cuts)
      size /= otherInner;
    if (!best || cuts.size() < best->blocks.size())
      best = Shard::split(dim, cuts);
  }
  return best;
}

std::optional<Window> distribute::throughSlice(const Shard &shard, int64_t start, int64_t limit,
                                               int64_t stride, int64_t ranks) {
  Window window{Shard::split(shard.dim, {}), 0, 0};
  int64_t begin = 0, elements = 0, first = -1;
  for (int64_t size : shard.blocks) {
    int64_t end = begin + size;
    if (first < 0 && start < end) {
      first = begin;
      window.start = begin / ranks + (start - begin);
      if (start - begin >= stride) // the window starts inside a block
        return std::nullopt;
    }
    if (first >= 0 && begin < limit) {
      // A stride that crosses pieces would take other elements on each rank.
      if (size / ranks % stride != 0 || limit <= end - stride)
        return std::nullopt;
      window.shard.blocks.push_back(size / stride);
      elements += size / stride;
      window.limit = end / ranks;
    }
    begin = end;
  }
  if (elements != (limit - start + stride - 1) / stride || elements == 0)
    return std::nullopt;
  return window;
}

std::optional<Padding> distribute::throughPad(const Shard &shard, int64_t low, int64_t high,
                                              int64_t interior, int64_t ranks) {
  Padding padding{shard, low, high};
  if (interior == 0) {
    if (low % ranks != 0 || high % ranks != 0)
      return std::nullopt;
    if (low)
      padding.shard.blocks.insert(padding.shard.blocks.begin(), low);
    if (high)
      padding.shard.blocks.push_back(high);
    padding.low /= ranks;
    padding.high /= ranks;
    return padding;
  }
  // Every element gets `interior` more, so that pieces stay equal.
  if (low + high != interior)
    return std::nullopt;
  for (int64_t &size : padding.shard.blocks)
    size *= interior + 1;
  return padding;
}
