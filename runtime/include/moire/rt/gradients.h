//===- gradients.h - The end of a step on many ranks ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GRADIENTS_H
#define MOIRE_RT_GRADIENTS_H

#include "moire/rt/context.h"

#include <vector>

namespace moire::rt {

struct GroupNorms; // optimizer.h

/// With a pipeline, before reduceStep(): a parameter's gradients of several stages and paths
/// are added up, in the order of its copies.
void sumCopies(Context &ctx);

/// Between the last micro-batch of a step and endStep(), where ctx.comm is given: sums
/// gradients over the ranks that hold the same parameter, in the program's buckets,
/// and the loss over all atoms, in their order.
void reduceStep(Context &ctx);
/// The sum of all micro-batches' losses of all ranks becomes the outcome's, in the same order on
/// every mesh. Of many ranks or a pipeline: what runs alone adds them up as they come.
void sumLosses(Context &ctx);

/// squares [numParameters], Σ g² of what this rank owns, becomes that of the logical
/// parameters: summed over pieces, then over shards.
void sumShards(Context &ctx, double *squares);
/// squares [numParameters] of this rank become those of all stages, in model order.
std::vector<double> gatherStages(Context &ctx, const std::vector<double> &squares);
/// Σ of them.
double sumStages(Context &ctx, const std::vector<double> &squares);
/// updateNorms() from the squares [numParameters] of what this rank owns: of what the step added,
/// and of the parameters.
std::vector<GroupNorms> groupNorms(Context &ctx, std::vector<double> updates,
                                   std::vector<double> values);

} // namespace moire::rt

#endif // MOIRE_RT_GRADIENTS_H
