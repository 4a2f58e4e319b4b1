//===- ScheduleOverlap.cpp - Pass schedule-overlap -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "OpProblem.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Overlap/Passes.h"
#include <numeric>

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
    ModuleOp module = getOperation();
    auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
    if (!dist::meshOf(module) || !microStep || microStep.getBody().empty())
      return;
    overlap::Rates given;
    if (std::string error = given.parse(rates); !error.empty()) {
      emitError(module.getLoc(), error);
      return signalPassFailure();
    }
    // 1. The ops as tasks.
    Block &block = microStep.getBody().front();
    overlap::OpProblem ops = overlap::makeProblem(block, given);
    overlap::Problem &problem = ops.problem;
    if (std::string error = overlap::check(problem); !error.empty()) {
      microStep.emitError("cannot be scheduled: ") << error;
      return signalPassFailure();
    }
    // 2. An order that is faster and takes little more memory than theirs.
    std::vector<int> own(problem.tasks.size());
    std::iota(own.begin(), own.end(), 0);
    const overlap::Timetable before = overlap::simulate(problem, own);
    problem.memoryLimit = int64_t(double(before.peakBytes) * (1 + growth));
    const overlap::Timetable after = overlap::schedule(problem);
    // 3. Proven, and put into the IR.
    if (std::string error = overlap::verify(problem, after); !error.empty()) {
      microStep.emitError("was given a wrong order: ") << error;
      return signalPassFailure();
    }
    exposedBefore = int64_t(before.exposed * 1e9);
    exposedAfter = int64_t(after.exposed * 1e9);
    overlap::applyOrder(block, ops, after.order);
  }
};
} // namespace
