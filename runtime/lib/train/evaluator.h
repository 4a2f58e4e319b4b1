//===- evaluator.h - Measures the loss without training -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EVALUATOR_H
#define MOIRE_RT_EVALUATOR_H

#include "train/evaluation.h"
#include "train/micro_batches.h"
#include "train/pipeline.h"

#include <functional>
#include <optional>

namespace moire::rt {

class Evaluator {
public:
  /// pipeline: what runs tasks, if any. countLabels: the sum of all ranks' labels that count, from
  /// one rank's.
  Evaluator(Context &ctx, const Options &options, MicroBatches &micros, Pipeline *pipeline,
            ExpertLoad *experts, std::function<int64_t(int64_t)> countLabels)
      : ctx(ctx), options(options), micros(micros), pipeline(pipeline), experts(experts),
        countLabels(std::move(countLabels)) {}

  /// The mean loss over the set's labels, by all ranks together, in rounds of this kind; `shards`
  /// ranks have rows of their own. Nothing where no label counts.
  std::optional<double> meanLoss(EvaluationSet &set, RoundOfStep round, int64_t shards);

private:
  Context &ctx;
  const Options &options;
  MicroBatches &micros;
  Pipeline *pipeline;
  ExpertLoad *experts;
  std::function<int64_t(int64_t)> countLabels;
};

} // namespace moire::rt

#endif // MOIRE_RT_EVALUATOR_H
