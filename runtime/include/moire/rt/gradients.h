//===- gradients.h - The end of a step on many ranks ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GRADIENTS_H
#define MOIRE_RT_GRADIENTS_H

#include "moire/rt/context.h"

namespace moire::rt {

/// Between the last micro-batch of a step and endStep(), where ctx.comm is given: sums
/// gradients over the ranks that hold the same parameter, in the program's buckets,
/// and the loss over all atoms, in their order.
void reduceStep(Context &ctx);

/// squares [numParameters], Σ g² of what this rank owns, becomes that of the logical
/// parameters: summed over pieces, then over shards.
void sumShards(Context &ctx, double *squares);

} // namespace moire::rt

#endif // MOIRE_RT_GRADIENTS_H
