//===- ArenaPacking.h - Offsets of buffers with known live ranges --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Dynamic storage allocation with everything known beforehand: each buffer has
// a size and an interval of time, and buffers whose intervals meet must not
// overlap in memory. Plain data, no IR inside.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PROGRAM_ARENAPACKING_H
#define MOIRE_PROGRAM_ARENAPACKING_H

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace moire::program {

/// A buffer of `bytes` that holds data from statement `first` to statement
/// `last`, both included.
struct LiveRange {
  int64_t bytes = 0;
  int64_t first = 0, last = 0;
};

struct ArenaProblem {
  std::vector<LiveRange> ranges;
  int64_t alignment = 64;
};

struct ArenaSolution {
  std::vector<int64_t> offsets; ///< one per range, in bytes
  int64_t bytes = 0;            ///< the arena's size
};

/// The largest sum of (aligned) sizes that live at one statement: no packing can
/// be smaller.
int64_t lowerBound(const ArenaProblem &problem);

/// Places buffers by several orders (size, area, time), each at the tightest
/// free gap, and keeps the best packing; stops where one meets the lower bound.
/// Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep
/// Neural Net Inference", 2020. Deterministic; O(n^2).
ArenaSolution packArena(const ArenaProblem &problem);

/// Two ranges that live at one time and share bytes, if there are any.
std::optional<std::pair<size_t, size_t>> findOverlap(const ArenaProblem &problem,
                                                     const ArenaSolution &solution);

} // namespace moire::program

#endif // MOIRE_PROGRAM_ARENAPACKING_H
