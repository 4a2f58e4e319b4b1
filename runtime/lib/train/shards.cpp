//===- shards.cpp - Which part of a parameter a rank holds ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/shards.h"

#include <algorithm>

namespace moire::rt {

std::vector<int64_t> globalShape(const ParameterInfo &p) {
  const int64_t *shape = p.globalShape ? p.globalShape : p.shape;
  return std::vector<int64_t>(shape, shape + p.rank);
}

int64_t Part::size(size_t d) const {
  int64_t n = 0;
  for (const Run &run : runs[d])
    n += run.count;
  return n;
}
int64_t Part::elements() const {
  int64_t n = 1;
  for (size_t d = 0; d < dims.size(); ++d)
    n *= size(d);
  return n;
}
int64_t Part::wholeElements() const {
  int64_t n = 1;
  for (int64_t d : dims)
    n *= d;
  return n;
}

namespace {
/// The places [begin, begin + count) of what `runs` list.
void take(const Runs &runs, int64_t begin, int64_t count, Runs &to) {
  for (const Run &run : runs) {
    const int64_t first = std::max<int64_t>(begin, 0), last = std::min(begin + count, run.count);
    if (first < last) {
      if (!to.empty() && to.back().begin + to.back().count == run.begin + first)
        to.back().count += last - first;
      else
        to.push_back({run.begin + first, last - first});
    }
    begin -= run.count;
  }
}
} // namespace

Part Part::ofRank(const ParameterInfo &p, const Mesh &mesh, int64_t rank) {
  Part part;
  part.dims = globalShape(p);
  for (int64_t d : part.dims)
    part.runs.push_back({{0, d}});
  if (mesh.ranks() == 1)
    return part;
  for (int64_t i = 0; i < p.numShards; ++i) {
    const ShardInfo &s = p.shards[i];
    const int64_t n = mesh.size(s.axis), c = mesh.coordinate(rank, s.axis);
    std::vector<int64_t> blocks(s.blocks, s.blocks + s.numBlocks);
    if (blocks.empty())
      blocks = {part.size(s.dim)};
    Runs cut;
    int64_t start = 0;
    for (int64_t size : blocks) {
      take(part.runs[s.dim], start + c * (size / n), size / n, cut);
      start += size;
    }
    part.runs[s.dim] = cut;
  }
  return part;
}

} // namespace moire::rt
