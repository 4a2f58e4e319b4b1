//===- gather.h - What ranks tell each other ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GATHER_H
#define MOIRE_RT_GATHER_H

#include "moire/rt/comm.h"

#include <cstdio>
#include <string>
#include <vector>

namespace moire::rt {

/// By all ranks at the same time: on rank 0 every rank's text in order of rank, elsewhere a list
/// with only the own one in it. `what` names it in errors. comm: null for the only rank.
std::vector<std::string> gatherTexts(Comm *comm, std::string own, const char *what);

/// By all ranks at the same time: rank `from`'s text.
std::string tellAll(Comm *comm, std::string text, const char *what, int from = 0);

/// What became of something that all ranks did.
struct Verdict {
  int code = 0;     ///< 0: it went well on all of them
  int rank = 0;     ///< the lowest one where it did not
  std::string text; ///< of that rank
};
/// By all ranks at the same time, each with what became of its part; the same on all of them.
Verdict agree(Comm *comm, int code, std::string text, const char *what);

/// Closes the file, which is then null. Throws RunError where something of it was not written.
void closeWritten(std::FILE *&file, const char *flag, const std::string &path);

} // namespace moire::rt

#endif // MOIRE_RT_GATHER_H
