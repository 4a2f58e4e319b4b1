//===- PipelineProgram.cpp - Stages, their functions and their schedule ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Pipe/ScheduleIR.h"
#include <set>

using namespace mlir;
using namespace moire;
using namespace moire::pipe;
using namespace moire::scheduling;

static Port portOf(DictionaryAttr attributes) {
  if (!attributes)
    return {};
  const bool second = attributes.contains(kSecondAttr);
  for (StringRef role : {StringRef(kInputAttr), StringRef(kOutputAttr),
                         StringRef(kInputCotangentAttr), StringRef(kOutputCotangentAttr),
                         StringRef(kResidualAttr)})
    if (auto number = attributes.getAs<IntegerAttr>(role))
      return {role, number.getInt(), second};
  return {attributes.get(kLossAttr) ? StringRef(kLossAttr) : StringRef(), 0, second};
}
Port pipe::argumentPort(func::FuncOp func, unsigned i) { return portOf(func.getArgAttrDict(i)); }
Port pipe::resultPort(func::FuncOp func, unsigned i) { return portOf(func.getResultAttrDict(i)); }

std::string pipe::pairName(func::FuncOp first, func::FuncOp second) {
  return (first.getSymName() + "_and_" + second.getSymName()).str();
}

func::FuncOp PipelineProgram::pairOf(const Action &action) const {
  if (!action.second)
    return {};
  ModuleOp all = module;
  return all.lookupSymbol<func::FuncOp>(
      pairName(functionOf(action.first), functionOf(*action.second)));
}

SmallVector<PipelineProgram::Pair> PipelineProgram::pairs() const {
  SmallVector<Pair> result;
  llvm::SmallPtrSet<Operation *, 16> known;
  forEachAction([&](const Action &action) {
    if (func::FuncOp func = pairOf(action); func && known.insert(func).second)
      result.push_back({func, action.first.stage, action.second->stage});
  });
  return result;
}

void PipelineProgram::forEachAction(llvm::function_ref<void(const Action &)> look) const {
  for (const Round &round : rounds)
    for (const std::vector<Action> &actions : round.schedule.ranks)
      for (const Action &action : actions)
        look(action);
}

int64_t PipelineProgram::roundOf(int64_t microBatches) const {
  auto is = [&](const Round &round) { return round.microBatches() == microBatches; };
  return llvm::find_if(rounds, is) - rounds.begin();
}

bool PipelineProgram::isIn(ModuleOp module) {
  return !module.getOps<ScheduleOp>().empty() && llvm::any_of(module.getOps<StageOp>(), [](StageOp s) {
    return s.getForward().has_value();
  });
}

/// One schedule, or those that the batch ramp takes.
LogicalResult PipelineProgram::readRounds() {
  ramp = batchRampOf(module);
  auto schedules = module.getOps<ScheduleOp>();
  if (ramp.empty() ? !llvm::hasSingleElement(schedules) : schedules.empty())
    return module.emitError("must have one pipe.schedule, not ")
           << llvm::range_size(schedules) << " of them";
  const std::vector<int64_t> counts = countsOf(ramp);
  for (ScheduleOp op : schedules) {
    Round &round = rounds.emplace_back();
    round.op = op;
    if (failed(moire::readSchedule(op, round.problem, round.schedule)))
      return failure();
    const Round &first = rounds[0];
    ScheduleOp firstOp = first.op;
    if (op.getStages() != firstOp.getStages() || round.problem.rankOf != first.problem.rankOf)
      return mlir::emitError(op.getLoc(), "schedule @")
             << op.getSymName() << " has other stages, or has them on other ranks, than @"
             << firstOp.getSymName() << "; the parameters of a rank do not move";
    if (ramp.empty())
      continue;
    if (!llvm::is_contained(counts, round.microBatches()))
      return mlir::emitError(op.getLoc(), "schedule @")
             << op.getSymName() << " has " << round.microBatches()
             << " micro-batches, which no step of the batch ramp has";
    if (&rounds[roundOf(round.microBatches())] != &round)
      return mlir::emitError(op.getLoc(), "schedule @")
             << op.getSymName() << " has " << round.microBatches()
             << " micro-batches, as another one has; the batch ramp takes one of each number";
  }
  for (int64_t count : counts)
    if (roundOf(count) == int64_t(rounds.size()))
      return module.emitError("has no pipe.schedule of ")
             << count << " micro-batches, which the batch ramp takes";
  return success();
}

FailureOr<PipelineProgram> PipelineProgram::read(ModuleOp module) {
  PipelineProgram program;
  program.module = module;
  if (failed(program.readRounds()))
    return failure();
  ScheduleOp op = program.rounds[0].op;
  for (auto name : op.getStages().getAsRange<FlatSymbolRefAttr>())
    program.stages.push_back(module.lookupSymbol<StageOp>(name.getAttr()));
  for (int64_t stage = 0; stage < int64_t(program.stages.size()); ++stage)
    if (failed(program.checkParameters(stage)) || failed(program.checkFunctions(stage)))
      return failure();
  for (int64_t stage = 0; stage < int64_t(program.stages.size()); ++stage)
    if (failed(program.checkStage(stage)))
      return failure();
  return program;
}

static std::pair<FlatSymbolRefAttr, StringRef> symbolOf(StageOp stage, TaskKind kind) {
  switch (kind) {
  case TaskKind::Forward:
    return {stage.getForwardAttr(), "forward"};
  case TaskKind::Backward:
    return {stage.getBackwardAttr(), "backward"};
  case TaskKind::BackwardInput:
    return {stage.getBackwardInputAttr(), "backward_input"};
  case TaskKind::BackwardWeight:
    return {stage.getBackwardWeightAttr(), "backward_weight"};
  }
  llvm_unreachable("all kinds are named above");
}

StringAttr PipelineProgram::parameterOf(int64_t stage, StringAttr name) const {
  StageOp op = stages[stage];
  auto own = op->getAttrOfType<DictionaryAttr>(kParametersAttr);
  auto symbol = own ? own.getAs<FlatSymbolRefAttr>(name) : FlatSymbolRefAttr();
  return symbol ? symbol.getAttr() : name;
}

StringAttr PipelineProgram::nodeOf(int64_t stage, StringAttr name) const {
  StageOp op = stages[stage];
  auto own = op->getAttrOfType<DictionaryAttr>(kNodesAttr);
  auto node = own ? own.getAs<StringAttr>(name) : StringAttr();
  return node ? node : name;
}

int64_t PipelineProgram::originalOf(int64_t stage) const {
  auto functions = [this](int64_t s) {
    StageOp op = stages[s];
    return std::tuple(op.getForwardAttr(), op.getBackwardAttr());
  };
  int64_t original = 0;
  while (functions(original) != functions(stage))
    ++original;
  return original;
}

/// What stands for another parameter must be one like it.
LogicalResult PipelineProgram::checkParameters(int64_t number) {
  StageOp stage = stages[number];
  auto own = stage->getAttrOfType<DictionaryAttr>(kParametersAttr);
  if (!own)
    return success();
  for (NamedAttribute entry : own) {
    auto symbol = dyn_cast<FlatSymbolRefAttr>(entry.getValue());
    auto from = module.lookupSymbol<ParameterOp>(entry.getName());
    auto into = symbol ? module.lookupSymbol<ParameterOp>(symbol.getAttr()) : ParameterOp();
    if (!from || !into)
      return stage.emitOpError("has ")
             << entry.getValue() << " for @" << entry.getName().getValue()
             << "; both must be parameters";
    if (from.getLocalType() != into.getLocalType())
      return stage.emitOpError("has ") << symbol << " of type " << into.getLocalType() << " for @"
                                       << entry.getName().getValue() << ", which is "
                                       << from.getLocalType() << "; they must be of one type";
    if (from.getGroupAttr() != into.getGroupAttr())
      return stage.emitOpError("has ")
             << symbol << " for @" << entry.getName().getValue()
             << ", which rests in other steps; they must be of one group, or of none";
  }
  return success();
}

/// Finds the stage's functions that the schedule runs, and what they do to parameters.
LogicalResult PipelineProgram::checkFunctions(int64_t number) {
  StageOp stage = stages[number];
  std::set<TaskKind> used;
  forEachAction([&](const Action &action) {
    for (int i = 0; i < action.size(); ++i)
      if (action[i].stage == number)
        used.insert(action[i].kind);
  });
  for (TaskKind kind : used) {
    auto [symbol, what] = symbolOf(stage, kind);
    auto func = symbol ? module.lookupSymbol<func::FuncOp>(symbol) : func::FuncOp();
    if (!func)
      return stage.emitOpError("names no function for ") << what << ", which the schedule runs";
    if (!func.getBody().hasOneBlock())
      return func.emitOpError("must have one block");
    functions[symbol] = func;
    func.walk([&](Operation *op) {
      auto note = [&](auto &map, StringAttr name) {
        SmallVector<int> &list = map[name];
        if (list.empty() || list.back() != number)
          list.push_back(static_cast<int>(number));
      };
      // By name, since statements in memory (exec.param, exec.grad) name parameters, too.
      auto name = op->getAttrOfType<FlatSymbolRefAttr>("parameter");
      if (!name)
        return;
      const StringAttr own = parameterOf(number, name.getAttr());
      note(readers, own);
      const StringRef what = op->getName().getStringRef();
      if (what == "pipe.accumulate" || what == "exec.grad")
        note(accumulators, own);
    });
  }
  return success();
}

LogicalResult PipelineProgram::checkStage(int64_t number) {
  StageOp stage = stages[number];
  std::map<Port, Type> known;
  // What comes from the stages beside it.
  auto takeFrom = [&](int64_t other, TaskKind kind, StringRef theirs, StringRef ours) {
    if (other < 0 || other >= int64_t(stages.size()))
      return;
    func::FuncOp func = functions.lookup(symbolOf(stages[other], kind).first);
    if (!func)
      return;
    for (unsigned i = 0; i < func.getNumResults(); ++i)
      if (Port port = resultPort(func, i); port.role == theirs)
        known[{ours, port.number}] = func.getResultTypes()[i];
  };
  takeFrom(number - 1, TaskKind::Forward, kOutputAttr, kInputAttr);
  takeFrom(number + 1, TaskKind::Backward, kInputCotangentAttr, kOutputCotangentAttr);
  takeFrom(number + 1, TaskKind::BackwardInput, kInputCotangentAttr, kOutputCotangentAttr);
  const unsigned own = microBatchArguments();
  for (TaskKind kind : {TaskKind::Forward, TaskKind::Backward, TaskKind::BackwardInput,
                        TaskKind::BackwardWeight}) {
    func::FuncOp func = functions.lookup(symbolOf(stage, kind).first);
    if (!func)
      continue;
    for (unsigned i = 0; i < func.getNumArguments(); ++i) {
      const Port port = argumentPort(func, i);
      if (port.role.empty() != (i < own))
        return func.emitOpError("argument ")
               << i << " must " << (i < own ? "be of the micro-batch" : "have a role of the stage");
      if (port.role.empty())
        continue;
      auto it = known.find(port);
      if (it == known.end())
        return func.emitOpError("argument ") << i << " is " << port.role << " " << port.number
                                             << ", which no function before it gives";
      if (it->second != func.getArgumentTypes()[i])
        return func.emitOpError("argument ")
               << i << " is " << port.role << " " << port.number << " of type "
               << func.getArgumentTypes()[i] << ", which is given as " << it->second;
    }
    for (unsigned i = 0; i < func.getNumResults(); ++i) {
      const Port port = resultPort(func, i);
      if (port.role.empty())
        return func.emitOpError("result ") << i << " must have a role of the stage";
      known[port] = func.getResultTypes()[i];
    }
  }
  return success();
}

func::FuncOp PipelineProgram::functionOf(const Task &task) const {
  return functions.lookup(symbolOf(stages[task.stage], task.kind).first);
}

SmallVector<func::FuncOp> PipelineProgram::functionsOf(StageOp stage) const {
  SmallVector<func::FuncOp> result;
  for (TaskKind kind : {TaskKind::Forward, TaskKind::Backward, TaskKind::BackwardInput,
                        TaskKind::BackwardWeight})
    if (func::FuncOp func = functions.lookup(symbolOf(stage, kind).first))
      result.push_back(func);
  return result;
}

func::FuncOp PipelineProgram::first() const {
  return functionOf({TaskKind::Forward, 0, 0, 0});
}

unsigned PipelineProgram::microBatchArguments() const {
  func::FuncOp func = first();
  unsigned count = 0;
  while (count < func.getNumArguments() && argumentPort(func, count).role.empty())
    ++count;
  return count;
}

int64_t PipelineProgram::Round::microBatch(int path, int number) const {
  for (int before = 0; before < path; ++before)
    number += problem.microBatches[before];
  return number;
}

SmallVector<PipelineProgram::Copy> PipelineProgram::copiesOf(StringAttr parameter) const {
  SmallVector<Copy> copies;
  auto it = accumulators.find(parameter);
  if (it != accumulators.end())
    for (auto [path, place] : llvm::enumerate(rankOf()))
      for (int stage : it->second)
        copies.push_back({int(path), stage, place[stage]});
  return copies;
}

SmallVector<int> PipelineProgram::holdersOf(StringAttr parameter) const {
  std::set<int> ranks;
  auto it = readers.find(parameter);
  if (it != readers.end())
    for (int stage : it->second)
      for (const std::vector<int> &place : rankOf())
        ranks.insert(place[stage]);
  if (ranks.empty())
    return {0};
  return SmallVector<int>(ranks.begin(), ranks.end());
}
