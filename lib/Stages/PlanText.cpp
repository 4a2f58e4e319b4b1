//===- PlanText.cpp - What was compiled, for moire-plan -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageTimes.h"
#include "dialects/dist/Dist.h"
#include "moire/Overlap/Timetable.h"
#include "moire/Pipe/ScheduleIR.h"
#include "moire/Stages/Passes.h"
#include "llvm/Support/Path.h"
#include <map>
#include <set>
#include <tuple>

using namespace mlir;
using namespace moire;
using namespace moire::scheduling;

namespace {
struct PlanMaker {
  const pipe::PipelineProgram &program;
  overlap::Rates rates;
  Problem problem; ///< the first round's, whose stages get their costs
  std::map<Operation *, overlap::Span> known;

  PlanMaker(const pipe::PipelineProgram &program, StringRef text)
      : program(program), problem(program.rounds[0].problem) {
    (void)rates.parse(text); // the phase has refused what is wrong
  }

  overlap::Span spanOf(func::FuncOp func) {
    if (!func)
      return {};
    auto [it, isNew] = known.try_emplace(func);
    if (isNew)
      it->second = overlap::spanOf(func, rates);
    return it->second;
  }
  ModuleOp source() const {
    pipe::StageOp stage = program.stages[0];
    return stage->getParentOfType<ModuleOp>();
  }
  void timeStage(int number);
  void timePairs();
  double parameterBytes(int stage);
};
} // namespace

void PlanMaker::timeStage(int number) {
  pipe::StageOp stage = program.stages[number];
  auto function = [&](std::optional<StringRef> name) {
    return name ? source().lookupSymbol<func::FuncOp>(*name) : func::FuncOp();
  };
  StageCost &cost = problem.stages[number];
  const overlap::Span forward = spanOf(function(stage.getForward())),
                      backward = spanOf(function(stage.getBackward())),
                      input = spanOf(function(stage.getBackwardInput()));
  cost.forward = forward.seconds;
  cost.forwardCollective = std::min(forward.exposed, forward.seconds);
  cost.backward = backward.seconds;
  cost.backwardInput = input.seconds;
  cost.backwardCollective = std::min({backward.exposed, backward.seconds, input.seconds});
  cost.backwardWeight = spanOf(function(stage.getBackwardWeight())).seconds;
  cost.parameterBytes = parameterBytes(number);
}

/// What a rank holds of a stage's parameters, gradients and optimizer state.
double PlanMaker::parameterBytes(int stage) {
  const dist::MeshAttr mesh = dist::meshOf(source());
  double bytes = 0, states = 0;
  source().walk([&](pipe::UpdateOp update) {
    states = update.getOptimizer() == pipe::Optimizer::adamw ? 8 : 0;
  });
  // In functions of another stage other parameters stand for its own.
  llvm::DenseSet<StringAttr> read;
  for (func::FuncOp func : program.functionsOf(program.stages[stage]))
    func.walk([&](pipe::ReadOp op) {
      read.insert(program.parameterOf(stage, op.getParameterAttr().getAttr()));
    });
  for (auto parameter : source().getOps<pipe::ParameterOp>()) {
    if (!read.contains(parameter.getSymNameAttr()))
      continue;
    const double elements = parameter.getLocalType().getNumElements();
    const int64_t level = parameter.getZero().value_or(0);
    const double members = level ? mesh.getSize(*parameter.getZeroAxes()) : 1;
    bytes += 4 * elements / (level >= 3 ? members : 1);
    if (!parameter.getFrozen())
      bytes += elements * (4 / (level >= 2 ? members : 1) + states / (level >= 1 ? members : 1));
  }
  return bytes;
}

/// What pairs save, the mean of those that a stage is in; the cost model takes it by stage.
void PlanMaker::timePairs() {
  struct Saved {
    double sum = 0;
    int pairs = 0;
  };
  // By stage and kinds.
  std::map<std::tuple<int, TaskKind, TaskKind>, Saved> saved;
  std::set<std::tuple<TaskKind, int, TaskKind, int>> seen;
  program.forEachAction([&](const Action &action) {
    func::FuncOp pair = action.second ? program.pairOf(action) : func::FuncOp();
    if (!pair || !seen.insert({action.first.kind, action.first.stage, action.second->kind,
                               action.second->stage})
                      .second)
      return;
    const double apart = spanOf(program.functionOf(action.first)).seconds +
                         spanOf(program.functionOf(*action.second)).seconds;
    for (int i = 0; i < 2; ++i) {
      Saved &s = saved[{action[i].stage, action.first.kind, action.second->kind}];
      s.sum += apart - spanOf(pair).seconds;
      ++s.pairs;
    }
  });
  for (const auto &[key, s] : saved) {
    const auto &[stage, first, second] = key;
    StageCost &cost = problem.stages[stage];
    auto alone = [&, stage = stage](TaskKind kind) {
      return taskCost(problem, {kind, 0, stage, 0});
    };
    const double a = alone(first), b = alone(second);
    const double time = std::max({a, b, a + b - s.sum / s.pairs});
    if (first == TaskKind::Forward)
      (second == TaskKind::Backward        ? cost.forwardWithBackward
       : second == TaskKind::BackwardInput ? cost.forwardWithBackwardInput
                                           : cost.twoForwards) = time;
    else
      (first == TaskKind::Backward ? cost.twoBackwards : cost.twoBackwardInputs) = time;
  }
}

std::string stages::planText(const pipe::PipelineProgram &program, StringRef rates) {
  PlanMaker maker(program, rates);
  for (int stage = 0; stage < maker.problem.numStages(); ++stage)
    maker.timeStage(stage);
  maker.timePairs();

  const Location loc = UnknownLoc::get(maker.source().getContext());
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  SmallVector<std::string> begins;
  SmallVector<pipe::StageOp> stages;
  for (int stage = 0; stage < maker.problem.numStages(); ++stage) {
    begins.push_back(firstNode(program, stage));
    stages.push_back(b.create<pipe::StageOp>(loc, "stage" + std::to_string(stage), stage,
                                             maker.problem.stages[stage]));
  }
  (*module)->setAttr("moire.begins",
                     b.getStrArrayAttr(SmallVector<StringRef>(begins.begin(), begins.end())));
  if (auto path = maker.source()->getAttrOfType<StringAttr>("moire.model_path"))
    (*module)->setAttr("moire.model", b.getStringAttr(llvm::sys::path::filename(path)));
  if (dist::MeshAttr mesh = dist::meshOf(maker.source())) {
    std::string text;
    for (auto [axis, size] : llvm::zip_equal(mesh.getAxes(), mesh.getSizes()))
      text += (text.empty() ? "" : ",") + axis.str() + "=" + std::to_string(size);
    (*module)->setAttr("moire.mesh", b.getStringAttr(text));
  }
  if (!program.ramp.empty())
    b.create<pipe::BatchRampOp>(loc, program.ramp);
  for (const pipe::PipelineProgram::Round &round : program.rounds) {
    pipe::ScheduleOp schedule = round.op;
    const StringRef kind = schedule.getKind().value_or(schedule.getSymName());
    std::string name = kind.str();
    if (program.rounds.size() > 1)
      name += "_" + std::to_string(round.microBatches());
    Problem problem = round.problem;
    problem.stages = maker.problem.stages;
    buildSchedule(b, loc, name, problem, kind, round.schedule, stages);
  }
  std::string printed;
  llvm::raw_string_ostream os(printed);
  module->print(os);
  return os.str() + "\n";
}
