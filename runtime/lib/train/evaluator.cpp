//===- evaluator.cpp - Measures the loss without training -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/evaluator.h"
#include "moire/rt/device.h"
#include "moire/rt/gradients.h"
#include "train/forward_alone.h"

namespace moire::rt {

std::optional<double> Evaluator::meanLoss(EvaluationSet &set, RoundOfStep round, int64_t shards) {
  const int64_t count = options.accumulate * round.microBatches;
  ctx.microBatches = count;
  const ForwardAlone forwardAlone(ctx);
  if (experts)
    experts->mark(); // what is counted now does not count
  double sum = 0;
  int64_t labels = 0;
  for (int64_t before = 0; before < set.rows(); before += count * shards * ctx.program->batch) {
    const MicroBatch *batches = set.read(before, count);
    int64_t own = 0;
    for (int64_t a = 0; a < count; ++a)
      own += batches[a].counted;
    const int64_t counted = countLabels(own);
    if (counted == 0)
      continue;
    ctx.scale = static_cast<float>(1.0 / double(counted));
    micros.begin(batches);
    if (pipeline) {
      pipeline->runForward(round.round, options.accumulate, [this](TaskState &task) {
        micros.setInputs(task, task.microBatch);
      });
    } else {
      for (int64_t micro = 0; micro < count; ++micro)
        micros.run(micro, /*last=*/false);
      if (ctx.comm)
        sumLosses(ctx);
    }
    sum += outcomeOfStep(ctx).loss * double(counted);
    labels += counted;
  }
  if (experts)
    experts->backToMark();
  return labels ? std::optional<double>(sum / double(labels)) : std::nullopt;
}

} // namespace moire::rt
