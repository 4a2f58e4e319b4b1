//===- Explain.cpp - What stages a model was cut into --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageTimes.h"
#include "dialects/pipe/Gradients.h"
#include "moire/Overlap/Predict.h"
#include "moire/Scheduling/Simulator.h"
#include "moire/Stages/Passes.h"
#include "moire/Support/NodeNames.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moire;
using namespace moire::scheduling;

std::string stages::firstNode(const pipe::PipelineProgram &program, int stage) {
  func::FuncOp forward = program.functionOf({TaskKind::Forward, 0, stage, 0});
  for (Operation &op : forward.getBody().front()) {
    if (isa<pipe::ReadOp, arith::ConstantOp>(op))
      continue;
    if (StringAttr node = moire::firstNode(op.getLoc()))
      return program.nodeOf(stage, node).str();
  }
  return "";
}

/// Seconds after a rank's last task: sums of gradients and the update.
static double endingOf(const pipe::PipelineProgram &program, int rank,
                       const overlap::Rates &rates) {
  pipe::StageOp stage = program.stages.front();
  auto module = stage->getParentOfType<ModuleOp>();
  auto isHeld = [&](FlatSymbolRefAttr name) {
    return llvm::is_contained(program.holdersOf(name.getAttr()), rank);
  };
  auto bytesOf = [&](FlatSymbolRefAttr name) {
    return double(module.lookupSymbol<pipe::ParameterOp>(name.getAttr())
                      .getGradientType()
                      .getNumElements()) *
           4;
  };
  double seconds = 0;
  module.walk([&](Operation *op) {
    if (auto update = dyn_cast<pipe::UpdateOp>(op)) {
      seconds += isHeld(update.getParameterAttr()) ? overlap::secondsOf(op, rates) : 0;
    } else if (auto sum = dyn_cast<pipe::ReduceGradsOp>(op)) {
      double held = 0, all = 0;
      for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>()) {
        all += bytesOf(name);
        held += isHeld(name) ? bytesOf(name) : 0;
      }
      seconds += all > 0 ? held / all * overlap::transferSeconds(op, rates) : 0;
    } else if (auto copies = dyn_cast<pipe::SumCopiesOp>(op)) {
      double bytes = 0;
      for (auto name : copies.getParameters().getAsRange<FlatSymbolRefAttr>())
        for (const auto &copy : program.copiesOf(name.getAttr()))
          bytes += copy.rank == rank
                       ? bytesOf(name) * double(program.holdersOf(name.getAttr()).size() - 1)
                       : 0;
      seconds += bytes > 0 ? bytes / rates.bandwidth + rates.latency : 0;
    }
  });
  return seconds;
}

void stages::explainStages(const pipe::PipelineProgram &program, StringRef rates, raw_ostream &os) {
  // Kernels are fused by now; the schedule was made before.
  overlap::Rates given;
  (void)given.parse(rates); // the phase has refused what is wrong
  Problem problem = program.rounds[0].problem;
  for (int s = 0; s < problem.numStages(); ++s) {
    auto function = [&](std::optional<StringRef> name) {
      pipe::StageOp stage = program.stages[s];
      return name ? stage->getParentOfType<ModuleOp>().lookupSymbol<func::FuncOp>(*name)
                  : func::FuncOp();
    };
    pipe::StageOp stage = program.stages[s];
    StageCost times =
        timesOf(function(stage.getForward()), function(stage.getBackward()),
                function(stage.getBackwardInput()), function(stage.getBackwardWeight()), given);
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
  // Functions take what their ops take in their order, pairs what both take at once.
  llvm::DenseMap<Operation *, overlap::InOrder> known;
  auto timesOf = [&](func::FuncOp func) {
    auto [it, isNew] = known.try_emplace(func);
    if (isNew)
      it->second = overlap::timesInOrder(func.getBody().front(), given);
    return it->second;
  };
  problem.knownCost = [&](const Action &action) {
    if (func::FuncOp pair = program.pairOf(action))
      return timesOf(pair).seconds;
    double sum = 0;
    for (int i = 0; i < action.size(); ++i)
      sum += timesOf(program.functionOf(action[i])).seconds;
    return sum;
  };
  problem.knownOutput = [&](const Action &action, int i) {
    if (func::FuncOp pair = program.pairOf(action))
      return timesOf(pair).outputs[i];
    double before = i ? timesOf(program.functionOf(action.first)).seconds : 0;
    return before + timesOf(program.functionOf(action[i])).outputs[0];
  };
  for (const pipe::PipelineProgram::Round &round : program.rounds) {
    problem.microBatches = round.problem.microBatches;
    const Timing timing = simulate(problem, round.schedule);
    double step = 0;
    for (int rank = 0; rank < problem.ranks; ++rank)
      step = std::max(step, (timing.finish[rank].empty() ? 0 : timing.finish[rank].back()) +
                                endingOf(program, rank, given));
    int held = 0;
    for (const RankTiming &rank : timing.ranks)
      held = std::max(held, rank.peakActivations);
    os << llvm::formatv("predicted for a step of {0} micro-batches: {1:f3} ms, bubble {2:f1} %, "
                        "communication that nothing hides {3:f3} ms on a rank; at most {4} "
                        "micro-batches in flight on a rank\n",
                        round.microBatches(), step * 1e3, timing.bubble() * 100,
                        timing.exposedCommunication() / problem.ranks * 1e3, held);
  }
}
