//===- gather.h - What rank 0 writes of all ranks -------------------------===//
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

/// Closes the file, which is then null. Throws RunError where something of it was not written.
void closeWritten(std::FILE *&file, const char *flag, const std::string &path);

} // namespace moire::rt

#endif // MOIRE_RT_GATHER_H
