//===- pipeline.cpp - What follows from a pipeline's tables ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/pipeline.h"

#include <algorithm>

namespace moire::rt {

Program programOfRank(const Program &program, int64_t coordinate) {
  Program own = program;
  if (!program.pipeline)
    return own;
  const PipelineRankInfo &r = program.pipeline->ranks[coordinate];
  own.arenaBytes = r.arenaBytes;
  own.numPeak = r.numPeak;
  own.peak = r.peak;
  own.paramElements = r.paramElements;
  own.gradElements = r.gradElements;
  own.stateElements = r.stateElements;
  own.shadowBytes = r.shadowBytes;
  own.numParameters = r.numParameters;
  own.parameters = r.parameters;
  own.prepare = r.prepare;
  own.numBuckets = r.numBuckets;
  own.buckets = r.buckets;
  return own;
}

std::vector<const ParameterInfo *> allParameters(const Program &program) {
  std::vector<const ParameterInfo *> all;
  if (!program.pipeline) {
    for (int64_t i = 0; i < program.numParameters; ++i)
      all.push_back(&program.parameters[i]);
    return all;
  }
  for (int64_t r = 0; r < program.pipeline->numRanks; ++r) {
    const PipelineRankInfo &rank = program.pipeline->ranks[r];
    for (int64_t i = 0; i < rank.numParameters; ++i)
      if (rank.parameters[i].counted)
        all.push_back(&rank.parameters[i]);
  }
  std::stable_sort(all.begin(), all.end(), [](const ParameterInfo *a, const ParameterInfo *b) {
    return a->index < b->index;
  });
  return all;
}

RoundOfStep roundAfter(const Program &program, int64_t done) {
  RoundOfStep step;
  if (program.pipeline)
    step.microBatches = program.pipeline->rounds[0].total;
  for (int64_t i = 0; i < program.numRamp && program.ramp[i].after <= done; ++i)
    step = {program.ramp[i].microBatches, program.ramp[i].round};
  return step;
}

int64_t mostMicroBatches(const Program &program) {
  int64_t most = roundAfter(program, 0).microBatches;
  for (int64_t i = 0; i < program.numRamp; ++i)
    most = std::max(most, program.ramp[i].microBatches);
  return most;
}

int64_t microBatchesOfSteps(const Program &program, int64_t done) {
  if (program.numRamp == 0)
    return done * roundAfter(program, 0).microBatches;
  int64_t sum = 0;
  for (int64_t i = 0; i < program.numRamp && program.ramp[i].after < done; ++i) {
    const int64_t end = i + 1 < program.numRamp ? program.ramp[i + 1].after : done;
    sum += (std::min(end, done) - program.ramp[i].after) * program.ramp[i].microBatches;
  }
  return sum;
}

} // namespace moire::rt
