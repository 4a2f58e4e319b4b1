//===- shards.h - Which part of a parameter a rank holds ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SHARDS_H
#define MOIRE_RT_SHARDS_H

#include "moire/rt/comm.h"

#include <algorithm>
#include <vector>

namespace moire::rt {

/// Consecutive indices of a dimension.
struct Run {
  int64_t begin, count;
};
using Runs = std::vector<Run>;

/// A part of a row-major tensor: of each dimension the indices that it has, in order.
struct Part {
  std::vector<int64_t> dims; ///< of the whole tensor
  std::vector<Runs> runs;    ///< one per dimension

  /// The part that a rank of the mesh holds; all of it on a mesh without axes.
  static Part ofRank(const ParameterInfo &parameter, const Mesh &mesh, int64_t rank);
  /// How many indices of dimension d it has.
  int64_t size(size_t d) const;
  int64_t elements() const;
  int64_t wholeElements() const;
};

/// Calls body(at, whole, count) for the part's elements in order, as long pieces as are
/// contiguous: `count` of them from `at` in the part are those from `whole` in the tensor.
template <typename Body> void eachPiece(const Part &part, Body &&body) {
  // The last dimension that is cut; those behind it make up `inner`.
  size_t cut = part.dims.size();
  int64_t inner = 1;
  while (cut > 0 && part.runs[cut - 1].size() == 1 &&
         part.runs[cut - 1][0].count == part.dims[cut - 1])
    inner *= part.dims[--cut];
  if (cut == 0) {
    body(int64_t(0), int64_t(0), inner);
    return;
  }
  // An index of each dimension before the last cut one: (run, place in it).
  std::vector<std::pair<size_t, int64_t>> at(cut - 1, {0, 0});
  if (part.elements() == 0)
    return;
  for (int64_t done = 0;;) {
    int64_t base = 0;
    for (size_t d = 0; d + 1 < cut; ++d)
      base = base * part.dims[d] + part.runs[d][at[d].first].begin + at[d].second;
    base *= part.dims[cut - 1];
    for (const Run &run : part.runs[cut - 1]) {
      body(done, (base + run.begin) * inner, run.count * inner);
      done += run.count * inner;
    }
    size_t d = cut - 1;
    for (; d > 0; --d) {
      auto &[run, place] = at[d - 1];
      if (++place < part.runs[d - 1][run].count)
        break;
      place = 0;
      if (++run < part.runs[d - 1].size())
        break;
      run = 0;
    }
    if (d == 0)
      return;
  }
}

/// The same for places [begin, end) of the part.
template <typename Body>
void eachPieceWithin(const Part &part, int64_t begin, int64_t end, Body &&body) {
  eachPiece(part, [&](int64_t at, int64_t whole, int64_t count) {
    const int64_t first = std::max(at, begin), last = std::min(at + count, end);
    if (first < last)
      body(first, whole + first - at, last - first);
  });
}

/// The shape of the logical parameter.
std::vector<int64_t> globalShape(const ParameterInfo &parameter);

} // namespace moire::rt

#endif // MOIRE_RT_SHARDS_H
