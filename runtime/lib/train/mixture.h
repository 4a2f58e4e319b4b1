//===- mixture.h - Rows of several streams in given shares ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Row n of a run is of the stream in whose part of [0, 1) the number
//
//     x(n) = frac(n · φ + shift),  φ = (√5 - 1) / 2,
//
// falls; the parts are as long as the weights. Multiples of the golden ratio are spread so evenly
// that any run of n rows has each stream's share up to O(log n) rows (Kuipers and Niederreiter:
// Uniform distribution of sequences, 1974), and how many of the first n fall into a part is a
// closed form. So a row's place needs no state, and steps have all streams in their shares.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MIXTURE_H
#define MOIRE_RT_MIXTURE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moire::rt {

class Mixture {
public:
  struct Phase {
    int64_t firstRow;            ///< 0 in the first phase; ascending
    std::vector<double> weights; ///< of all streams, 0 or more, their sum above 0
  };
  /// Which stream a row is of, and how many rows of that stream came before it.
  struct Place {
    int stream;
    int64_t number;
  };

  Mixture(const std::vector<Phase> &phases, uint64_t seed);

  Place at(int64_t row) const;

private:
  struct Part {
    int64_t firstRow;
    std::vector<unsigned __int128> ends; ///< of each stream's part, in 2^-64
    std::vector<int64_t> before;         ///< rows of each stream before firstRow
  };
  int64_t countBefore(const Part &part, size_t stream, int64_t row) const;

  std::vector<Part> parts;
  uint64_t shift; ///< in 2^-64
};

} // namespace moire::rt

#endif // MOIRE_RT_MIXTURE_H
