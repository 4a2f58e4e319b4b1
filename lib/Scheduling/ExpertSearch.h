//===- ExpertSearch.h - Local search over placements of experts -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_EXPERTSEARCH_H
#define MOIRE_LIB_SCHEDULING_EXPERTSEARCH_H

#include "moire/Scheduling/ExpertBalance.h"

namespace moire::scheduling {

/// [slot] → expert for one layer: the best that is found from `starts` and from the present
/// placement, never worse than any of them by largest load + moveCost x moves.
std::vector<int> searchExperts(const BalanceProblem &problem, int layer,
                               const std::vector<std::vector<int>> &starts);

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_EXPERTSEARCH_H
