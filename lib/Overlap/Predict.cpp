//===- Predict.cpp - How long a micro-batch takes, and what hides what ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/Predict.h"
#include "OpProblem.h"
#include "Steps.h"
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Support/NodeNames.h"
#include <numeric>

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

Prediction overlap::predict(ModuleOp module, const Rates &rates) {
  Prediction result;
  auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
  if (!microStep || microStep.getBody().empty())
    return result;
  OpProblem ops = makeProblem(microStep.getBody().front(), rates);
  std::vector<Task> &tasks = ops.problem.tasks;
  std::vector<int> order(tasks.size());
  std::iota(order.begin(), order.end(), 0);
  const Timetable t = simulate(ops.problem, order);
  result.seconds = t.seconds;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const bool transfers = tasks[i].resource == Resource::network;
    (transfers || dist::isCollective(ops.ops[i]) ? result.moving : result.computing) +=
        tasks[i].seconds + tasks[i].beside;
    if (isa<nn::GroupedMatmulOp, nn::GroupedMatmulGradWeightOp>(ops.ops[i]))
      result.experts += tasks[i].seconds;
    ops.ops[i]->walk(
        [&](dist::AllToAllRowsOp) { result.rows += tasks[i].seconds + tasks[i].beside; });
    if (!transfers)
      continue;
    Hidden hidden;
    hidden.seconds = tasks[i].seconds + tasks[i].beside;
    hidden.hidden = tasks[i].beside;
    double most = tasks[i].beside;
    if (most > 0)
      hidden.by = "experts of other parts";
    for (size_t j = 0; j < tasks.size(); ++j) {
      if (tasks[j].resource != Resource::compute || dist::isCollective(ops.ops[j]))
        continue;
      const double both = std::min(t.end[i], t.end[j]) - std::max(t.begin[i], t.begin[j]);
      if (both <= 0)
        continue;
      hidden.hidden += both;
      if (both > most) {
        most = both;
        hidden.by = nameWithNode(ops.ops[j]);
      }
    }
    if (auto async = dyn_cast<dist::AsyncOp>(ops.ops[i]))
      for (Operation &inner : async.getBody().front().without_terminator())
        result.collectives[&inner] = hidden;
    else if (auto start = dyn_cast<pipe::StartReduceOp>(ops.ops[i]))
      result.collectives[start.getStarted()] = hidden;
  }
  return result;
}

llvm::DenseMap<Operation *, double> overlap::evenTimes(ModuleOp module, const Rates &rates) {
  llvm::DenseMap<Operation *, double> times;
  for (func::FuncOp func : findSteps(module)) {
    const OpProblem ops = makeProblem(func.getBody().front(), rates, /*inParts=*/false);
    for (auto [op, task] : llvm::zip(ops.ops, ops.problem.tasks))
      times[op] = task.seconds;
  }
  return times;
}

InOrder overlap::timesInOrder(Block &block, const Rates &rates) {
  const OpProblem ops = makeProblem(block, rates);
  std::vector<int> order(ops.problem.tasks.size());
  std::iota(order.begin(), order.end(), 0);
  const Timetable t = simulate(ops.problem, order);
  InOrder times{t.seconds, {t.seconds, t.seconds}};
  for (auto [op, end] : llvm::zip(ops.ops, t.end))
    if (isa<pipe::PublishOp>(op))
      times.outputs[op->hasAttr(pipe::kSecondAttr)] = end;
  return times;
}

std::pair<double, double> overlap::oneAfterAnother(Block &block, const Rates &rates) {
  const OpProblem ops = makeProblem(block, rates, /*inParts=*/false);
  std::pair<double, double> sum = {0, 0};
  for (auto [op, task] : llvm::zip(ops.ops, ops.problem.tasks)) {
    sum.first += task.seconds;
    if (task.resource == Resource::network || dist::isCollective(op))
      sum.second += task.seconds;
  }
  return sum;
}

std::string overlap::describe(const Prediction &prediction, Operation *collective) {
  auto it = prediction.collectives.find(collective);
  if (it == prediction.collectives.end())
    return "waited for";
  const Hidden &h = it->second;
  const double part = h.seconds > 0 ? h.hidden / h.seconds : 0;
  auto rows = dyn_cast<dist::AllToAllRowsOp>(collective);
  std::string parts;
  if (rows && rows.getParts() > 1)
    parts = llvm::formatv("in {0} parts, ", rows.getParts());
  if (h.by.empty())
    return parts + "nothing beside it";
  return llvm::formatv("{0}hidden {1:f0} % by {2}", parts, 100 * part, h.by);
}

std::string overlap::summary(const Prediction &p) {
  std::string text = llvm::formatv(
      "predicted for a micro-batch: {0:f3} ms, of which it computes {1:f3} ms and waits for "
      "collectives {2:f3} ms; these take {3:f3} ms in all",
      p.seconds * 1e3, p.computing * 1e3, p.exposed() * 1e3, p.moving * 1e3);
  if (p.rows > 0)
    text += llvm::formatv("; products of experts take {0:f3} ms, their rows on the way {1:f3} ms",
                          p.experts * 1e3, p.rows * 1e3);
  return text;
}
