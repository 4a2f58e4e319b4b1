//===- Pipeline.cpp - The passes of the stages phase ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/OpCost.h"
#include "moire/Pipe/Passes.h"
#include "moire/Scheduling/Problem.h"
#include "moire/Stages/Passes.h"

using namespace mlir;
using namespace moire;

void stages::buildStagesPipeline(OpPassManager &passes, const StagesOptions &options) {
  // What cannot be read is refused by the passes.
  scheduling::Kind kind;
  (void)scheduling::parseKind(options.schedule, kind);
  overlap::Rates rates;
  (void)rates.parse(options.rates);
  CutStagesOptions cut;
  cut.perRank = kind.name == scheduling::Kind::Auto ? 1 : kind.stages(1);
  cut.rates = options.rates;
  passes.addPass(createCutStages(cut));
  passes.addPass(createShareStages());
  pipe::PipeScheduleOptions schedule;
  schedule.kind = options.schedule;
  schedule.microBatches = static_cast<int>(options.microBatches);
  schedule.ranks = static_cast<int>(options.ranks);
  schedule.latency = rates.latency;
  schedule.bandwidth = rates.bandwidth;
  schedule.join = options.join;
  passes.addPass(pipe::createPipeSchedule(schedule));
  passes.addPass(createSumCopies());
}
