//===- StageRunner.cpp - A rank's part of a pipeline's schedule -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageRunner.h"
#include "moire/Interp/Clock.h"

using namespace mlir;
using namespace moire;
using namespace moire::interp;
using namespace moire::scheduling;

int64_t StageRunner::rankOf(int path, int stage) const {
  auto pp = ArrayAttr::get(membership.mesh().getContext(),
                           {StringAttr::get(membership.mesh().getContext(), "pp")});
  return membership.mesh().getGroup(membership.rank, pp)[program.rankOf()[path][stage]];
}

LogicalResult StageRunner::run(const pipe::PipelineProgram::Round &which,
                               ArrayRef<Arguments> microBatches,
                               MutableArrayRef<std::optional<double>> losses) {
  kept.clear();
  most = 0;
  round = &which;
  const int64_t rank = membership.mesh().getCoordinate(membership.rank, "pp");
  for (const Action &action : round->schedule.ranks[rank]) {
    // Two tasks in one function, or each in its own.
    func::FuncOp pair = program.pairOf(action);
    for (int i = 0; i < (pair ? 1 : action.size()); ++i) {
      SmallVector<Task> tasks = {action[i]};
      if (pair)
        tasks.push_back(action[1]);
      Arguments arguments, results;
      auto begin = [&]() -> LogicalResult {
        for (const Task &task : tasks)
          if (failed(take(task, microBatches, arguments)))
            return failure();
        return success();
      };
      auto copyOf = [&](const Task &task) { return task.path * program.numStages() + task.stage; };
      auto compute = [&] {
        parameters.beginTask(copyOf(tasks[0]), copyOf(tasks.back()));
        return evaluator.run(pair ? pair : program.functionOf(tasks[0]), arguments, results);
      };
      auto name = [&] { return shortName(round->problem, pair ? action : Action(tasks[0])); };
      if (Clock *clock = membership.clock) {
        if (failed(clock->task(begin, name, compute)))
          return failure();
      } else if (failed(begin()) || failed(compute())) {
        return failure();
      }
      ArrayRef<RuntimeValue> left = results;
      for (auto [number, task] : llvm::enumerate(tasks)) {
        const unsigned count = program.functionOf(task).getNumResults();
        give(task, number == 1, left.take_front(count), losses);
        left = left.drop_front(count);
      }
    }
  }
  return success();
}

/// What the task's function reads: the micro-batch, what comes from the stages beside it, and what
/// the stage has kept.
LogicalResult StageRunner::take(const Task &task, ArrayRef<Arguments> microBatches,
                                Arguments &arguments) {
  func::FuncOp func = program.functionOf(task);
  auto &values = kept[{task.path, task.stage, task.microBatch}];
  most = std::max(most, int64_t(kept.size()));
  auto receive = [&](int from, StringRef role) -> LogicalResult {
    if (from < 0 || from >= program.numStages())
      return success();
    auto come = membership.meetings->receive(rankOf(task.path, from), membership.rank,
                                             {role.str(), task.path, task.stage, task.microBatch});
    if (failed(come))
      return failure();
    if (membership.clock)
      membership.clock->receive(come->time);
    for (auto [i, value] : llvm::enumerate(come->values))
      values[{role, int64_t(i)}] = value;
    return success();
  };
  if (task.isForward() && failed(receive(task.stage - 1, pipe::kInputAttr)))
    return failure();
  if (task.isBackward() && failed(receive(task.stage + 1, pipe::kOutputCotangentAttr)))
    return failure();
  const Arguments &own = microBatches[round->microBatch(task.path, task.microBatch)];
  llvm::append_range(arguments, own);
  for (unsigned i = own.size(); i < func.getNumArguments(); ++i) {
    auto it = values.find(pipe::argumentPort(func, i));
    if (it == values.end())
      return func.emitOpError("argument ") << i << " was not given by what ran before";
    arguments.push_back(it->second);
  }
  return success();
}

/// Keeps what the function gives, and sends on what goes to the stages beside it.
void StageRunner::give(const Task &task, bool second, ArrayRef<RuntimeValue> results,
                       MutableArrayRef<std::optional<double>> losses) {
  func::FuncOp func = program.functionOf(task);
  auto &values = kept[{task.path, task.stage, task.microBatch}];
  std::vector<RuntimeValue> up, down;
  for (auto [i, value] : llvm::enumerate(results)) {
    const pipe::Port port = pipe::resultPort(func, i);
    if (port.role == pipe::kLossAttr)
      losses[round->microBatch(task.path, task.microBatch)] = value.tensor().floats()[0];
    else
      values[port] = value;
    // Results of a role stand in the order of their numbers.
    if (port.role == pipe::kOutputAttr)
      up.push_back(value);
    if (port.role == pipe::kInputCotangentAttr)
      down.push_back(value);
  }
  auto send = [&](int stage, StringRef role, std::vector<RuntimeValue> values) {
    int64_t bytes = 0;
    for (const RuntimeValue &value : values)
      bytes +=
          value.tensor().size() * ((value.tensor().elementType().getIntOrFloatBitWidth() + 7) / 8);
    Clock *clock = membership.clock;
    const double time = clock ? clock->send(bytes, clock->publishedAt(second)) : 0;
    membership.meetings->send(membership.rank, rankOf(task.path, stage),
                              {role.str(), task.path, stage, task.microBatch},
                              {std::move(values), time});
  };
  if (task.isForward() && task.stage + 1 < program.numStages())
    send(task.stage + 1, pipe::kInputAttr, std::move(up));
  if (task.isBackward() && task.stage > 0)
    send(task.stage - 1, pipe::kOutputCotangentAttr, std::move(down));
  if (task.accumulates())
    kept.erase({task.path, task.stage, task.microBatch});
}
