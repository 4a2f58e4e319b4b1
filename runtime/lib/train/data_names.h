//===- data_names.h - What --data and --mix name --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_DATANAMES_H
#define MOIRE_RT_DATANAMES_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moire::rt {

/// Files that are read as one, every token once an epoch of all of them.
struct StreamName {
  std::string text;               ///< as in --data
  std::vector<std::string> files; ///< one or more
  double weight = 1;
};

/// The files of --data: PATH, or A,B,… which is one stream, or A:0.7,B:0.3, a stream each. An
/// item may be a pattern (*, ?, []), which stands for the files that it matches, sorted. What
/// exists as a whole is one file. Throws InputError.
std::vector<StreamName> parseDataNames(const std::string &text);

/// Weights from a row on.
struct MixChange {
  int64_t firstRow;
  std::vector<double> weights;
};

/// W1,W2,…@STEPS of --mix, once so many steps are done, or …@ROWSrows; ascending, one weight for
/// each of `streams`. rowsOfSteps: rows of the first steps.
std::vector<MixChange> parseMix(const std::vector<std::string> &texts, int64_t streams,
                                const std::function<int64_t(int64_t steps)> &rowsOfSteps);
/// Whether one of these is @ROWSrows.
bool countsRows(const std::string &change);

} // namespace moire::rt

#endif // MOIRE_RT_DATANAMES_H
