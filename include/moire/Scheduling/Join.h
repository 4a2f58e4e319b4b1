//===- Join.h - Tasks beside each other in a schedule become pairs -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_JOIN_H
#define MOIRE_SCHEDULING_JOIN_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// Joins actions of one task that follow each other on a rank into pairs, where communication that
/// nothing hid then is hidden: a forward or b with the W before or behind it, two forwards. The
/// order of tasks stays, so what is left of a published schedule is that order. A pair stands only
/// if by simulation the step does not get longer, and no rank has more activations in flight or
/// holds a tenth more bytes. Greedy, from the first
/// action of each rank to the last; at most `attempts` simulations. Returns how many pairs it
/// made; the order of messages is chosen anew where there was one.
int joinNeighbours(const Problem &problem, Schedule &schedule, int attempts = 2000);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_JOIN_H
