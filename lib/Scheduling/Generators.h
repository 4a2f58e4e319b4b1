//===- Generators.h - One function per published schedule -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_GENERATORS_H
#define MOIRE_LIB_SCHEDULING_GENERATORS_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// The actions of each rank; the problem has passed check().
using Rows = std::vector<std::vector<Action>>;

Rows gpipe(const Problem &problem);
Rows oneForwardOneBackward(const Problem &problem);
Rows interleaved(const Problem &problem, int chunks);
/// `extra`: forwards that rank 0 may hold beyond one per rank: 0 in ZB-H1, P-1 in ZB-H2.
Rows zeroBubble(const Problem &problem, int extra);
Rows zeroBubbleV(const Problem &problem);
Rows vHalf(const Problem &problem);
Rows dualPipe(const Problem &problem);
Rows dualPipeV(const Problem &problem);

/// Places the W's of rows whose backwards are all b. A W goes where its rank would else wait, and
/// in front of a forward that would make a rank hold more than `most` activations.
void placeWeights(const Problem &problem, Rows &rows, int most);

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_GENERATORS_H
