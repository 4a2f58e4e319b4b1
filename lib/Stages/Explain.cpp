//===- Explain.cpp - What stages a model was cut into --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageTimes.h"
#include "moire/Scheduling/Simulator.h"
#include "moire/Stages/Passes.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moire;
using namespace moire::scheduling;

std::string stages::firstNode(const pipe::PipelineProgram &program, int stage) {
  std::string name;
  func::FuncOp forward = program.functionOf({TaskKind::Forward, 0, stage, 0});
  for (Operation &op : forward.getBody().front()) {
    if (isa<pipe::ReadOp, arith::ConstantOp>(op))
      continue;
    op.getLoc()->walk([&](Location loc) {
      auto named = dyn_cast<NameLoc>(loc);
      if (!named)
        return WalkResult::advance();
      name = program.nodeOf(stage, named.getName()).str();
      return WalkResult::interrupt();
    });
    if (!name.empty())
      break;
  }
  return name;
}

void stages::explainStages(const pipe::PipelineProgram &program, StringRef rates,
                           raw_ostream &os) {
  // Kernels are fused by now; the schedule was made before.
  overlap::Rates given;
  (void)given.parse(rates); // the phase has refused what is wrong
  Problem problem = program.problem;
  for (int s = 0; s < problem.numStages(); ++s) {
    auto function = [&](std::optional<StringRef> name) {
      pipe::StageOp stage = program.stages[s];
      return name ? stage->getParentOfType<ModuleOp>().lookupSymbol<func::FuncOp>(*name)
                  : func::FuncOp();
    };
    pipe::StageOp stage = program.stages[s];
    StageCost times = timesOf(function(stage.getForward()), function(stage.getBackward()),
                              function(stage.getBackwardInput()),
                              function(stage.getBackwardWeight()), given);
    times.parameterBytes = problem.stages[s].parameterBytes;
    times.activationBytes = problem.stages[s].activationBytes;
    times.weightResidualBytes = problem.stages[s].weightResidualBytes;
    times.outputBytes = problem.stages[s].outputBytes;
    problem.stages[s] = times;
  }
  os << llvm::formatv("{0,-6} {1,-8} {2,11} {3,11} {4,12} {5,12}  {6}\n", "stage", "rank",
                      "forward us", "backward us", "kept bytes", "sent bytes", "begins at");
  for (int s = 0; s < problem.numStages(); ++s) {
    const StageCost &cost = problem.stages[s];
    std::string ranks;
    for (const std::vector<int> &place : problem.rankOf)
      ranks += (ranks.empty() ? "" : ",") + std::to_string(place[s]);
    const int64_t original = program.originalOf(s);
    os << llvm::formatv("{0,-6} {1,-8} {2,11:f1} {3,11:f1} {4,12:f0} {5,12:f0}  {6}\n", s, ranks,
                        cost.forward * 1e6, cost.backward * 1e6, cost.activationBytes,
                        cost.outputBytes,
                        firstNode(program, s) +
                            (original == s ? ""
                                           : ", functions of stage " + std::to_string(original)));
  }
  const Timing timing = simulate(problem, program.schedule);
  int held = 0;
  for (const RankTiming &rank : timing.ranks)
    held = std::max(held, rank.peakActivations);
  os << llvm::formatv("predicted for a step of {0} micro-batches: {1:f3} ms, bubble {2:f1} %, "
                      "communication that nothing hides {3:f3} ms on a rank; at most {4} "
                      "micro-batches in flight on a rank\n",
                      problem.totalMicroBatches(), timing.makespan * 1e3, timing.bubble() * 100,
                      timing.exposedCommunication() / problem.ranks * 1e3, held);
}
