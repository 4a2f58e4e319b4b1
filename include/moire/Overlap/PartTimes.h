//===- PartTimes.h - Rows of experts that move in parts --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_PARTTIMES_H
#define MOIRE_OVERLAP_PARTTIMES_H

#include <algorithm>
#include <cstdint>

namespace moire::overlap {

/// Seconds of rows that go to their experts, are computed and go back, in parts.
struct PartTimes {
  double first; ///< until the first part is there
  double span;  ///< from then on until all experts have computed
  double rest;  ///< from then on until all rows are back
};

/// Equal parts, of which `come`, `compute` and `back` are the seconds of all together. The
/// network does one transfer after another: all that come, then those back, each when its
/// experts have computed; these go through one part after another.
inline PartTimes partTimes(int64_t parts, double come, double compute, double back) {
  const double n = double(parts);
  double computed = come / n, network = come;
  for (int64_t part = 0; part < parts; ++part) {
    computed = std::max(computed, come * double(part + 1) / n) + compute / n;
    network = std::max(network, computed) + back / n;
  }
  return {come / n, computed - come / n, network - computed};
}

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_PARTTIMES_H
