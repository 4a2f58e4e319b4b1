//===- ScheduleOverlap.cpp - Pass schedule-overlap -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "OpProblem.h"
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "Steps.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Overlap/Passes.h"

namespace moire::overlap {
#define GEN_PASS_DEF_SCHEDULEOVERLAP
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;

namespace {
struct ScheduleOverlap : overlap::impl::ScheduleOverlapBase<ScheduleOverlap> {
  using ScheduleOverlapBase::ScheduleOverlapBase;

  void runOnOperation() override {
    overlap::Rates given;
    if (std::string error = given.parse(rates); !error.empty()) {
      emitError(getOperation().getLoc(), error);
      return signalPassFailure();
    }
    for (func::FuncOp step : overlap::findSteps(getOperation()))
      if (failed(orderOps(step, given)))
        return signalPassFailure();
  }

  LogicalResult orderOps(func::FuncOp step, const overlap::Rates &given) {
    // 1. Two orders: sums of gradients begin as soon as they can, or at the end. What is first
    // in the queue delays what comes behind it, which may be worse.
    Block &block = step.getBody().front();
    Order early = findOrder(block, given);
    SmallVector<pipe::StartReduceOp> starts(block.getOps<pipe::StartReduceOp>());
    Order *chosen = &early;
    Order late;
    if (!starts.empty()) {
      for (pipe::StartReduceOp start : starts)
        start->moveBefore(block.getTerminator());
      late = findOrder(block, given);
      if (late.after.seconds < early.after.seconds)
        chosen = &late;
    }
    // 2. Proven, and put into the IR.
    for (const std::string &error : {overlap::check(chosen->ops.problem),
                                     overlap::verify(chosen->ops.problem, chosen->after)})
      if (!error.empty())
        return step.emitError("was given a wrong order: ") << error;
    exposedBefore += int64_t(chosen->before.exposed * 1e9);
    exposedAfter += int64_t(chosen->after.exposed * 1e9);
    overlap::applyOrder(block, chosen->ops, chosen->after.order);
    return success();
  }

  struct Order {
    overlap::OpProblem ops;
    overlap::Timetable before, after;
  };
  /// An order that is faster, and takes little more memory than where each collective is
  /// waited for. Sums of gradients that stand at the block's end stay there.
  Order findOrder(Block &block, const overlap::Rates &given) {
    Order order{overlap::makeProblem(block, given), {}, {}};
    overlap::Problem &problem = order.ops.problem;
    for (size_t i = problem.tasks.size(); i-- > 0 && isa<pipe::StartReduceOp>(order.ops.ops[i]);)
      for (size_t j = 0; j < i; ++j)
        if (problem.tasks[j].resource == overlap::Resource::compute &&
            !llvm::is_contained(problem.tasks[i].after, int(j)))
          problem.tasks[i].after.push_back(int(j));
    order.before = overlap::simulate(problem, overlap::latestOrder(problem));
    // Two tasks side by side have what both have.
    const bool isPair = block.getParentOp()->hasAttr(pipe::kPairAttr);
    problem.memoryLimit = int64_t(double(order.before.peakBytes) * (isPair ? 2 : 1 + growth));
    order.after = overlap::schedule(problem);
    return order;
  }
};
} // namespace
