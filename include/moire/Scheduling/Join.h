//===- Join.h - Tasks beside each other in a schedule become pairs -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_JOIN_H
#define MOIRE_SCHEDULING_JOIN_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// Joins actions of one task that follow each other on a rank, where communication that nothing
/// hid then is hidden: a forward or b with the W before or behind it, two forwards or two
/// backwards become a pair, b and its own W a B. The order of tasks stays, so what is left of a
/// published schedule is that order. An action stands only if by simulation the step does not get
/// longer, and no rank has more activations in flight or holds a tenth more bytes. Ops are taken
/// to be ordered for communication (Problem::ordersOps). Greedy, from the first action of each
/// rank to the last; at most `attempts` simulations. Returns how many actions it joined; the order
/// of messages is chosen anew where there was one.
int joinNeighbours(Problem problem, Schedule &schedule, int attempts = 2000);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_JOIN_H
