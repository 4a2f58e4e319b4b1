//===- PipeSchedule.cpp - Writes the schedule of a module's stages --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Pipe/Passes.h"
#include "moire/Pipe/ScheduleIR.h"
#include "moire/Scheduling/Join.h"
#include "moire/Scheduling/Search.h"
#include <limits>

namespace moire::pipe {
#define GEN_PASS_DEF_PIPESCHEDULE
#include "lib/Pipe/Passes.h.inc"
} // namespace moire::pipe

using namespace mlir;
using namespace moire;
using namespace moire::pipe;
using namespace moire::scheduling;

/// Eight times the largest schedules in use: 64 ranks, 128 stages, 1024 micro-batches.
static constexpr int64_t kMostForwards = 1 << 20;

/// The stages of the module in the order of their indices.
static LogicalResult collectStages(ModuleOp module, SmallVectorImpl<StageOp> &stages) {
  llvm::append_range(stages, module.getOps<StageOp>());
  llvm::stable_sort(stages, [](StageOp a, StageOp b) { return a.getIndex() < b.getIndex(); });
  if (stages.empty())
    return emitError(module.getLoc())
           << "the module has 0 stages, a schedule needs at least 1; add a pipe.stage";
  for (auto [due, stage] : llvm::enumerate(stages)) {
    const int64_t index = stage.getIndex();
    if (index < int64_t(due))
      return emitError(stage.getLoc())
             << "stages @" << stages[due - 1].getSymName() << " and @" << stage.getSymName()
             << " both have index " << index << "; count the stages from 0";
    if (index > int64_t(due))
      return emitError(stage.getLoc()) << "stage @" << stage.getSymName() << " has index " << index
                                       << " where " << due << " is due; count the stages from 0";
  }
  return success();
}

/// The ranks on which `kind` takes `stages` stages.
static FailureOr<int> chooseRanks(Location loc, Kind kind, int ranks, int stages) {
  const int perRank = kind.stages(1);
  if (kind.name == Kind::Auto) {
    if (ranks >= 1 && stages % ranks == 0)
      return ranks;
    int nearest = std::clamp(ranks, 1, stages);
    while (stages % nearest)
      --nearest;
    if (ranks < 1)
      return emitError(loc) << "auto places " << stages << " stages on " << ranks
                            << " ranks; say how many there are with ranks=" << stages;
    return emitError(loc) << "auto places " << stages << " stages evenly, which " << ranks
                          << " ranks do not take; use ranks=" << nearest;
  }
  if (stages % perRank)
    return emitError(loc) << kind.str() << " takes " << perRank
                          << " stages on each rank, the module has " << stages << "; use "
                          << stages / perRank * perRank << (stages < perRank ? "" : " or ")
                          << stages / perRank * perRank + perRank << " stages";
  if (ranks != 0 && kind.stages(ranks) != stages) {
    InFlightDiagnostic error = emitError(loc) << kind.str() << " on " << ranks << " ranks takes "
                                              << kind.stages(ranks) << " stages, the module has "
                                              << stages << "; use ranks=" << stages / perRank;
    if (ranks > 0 && stages % ranks == 0)
      error << " or kind=interleaved:" << stages / ranks;
    return error;
  }
  return stages / perRank;
}

namespace {
/// A problem and the schedule that was found for it.
struct Solution {
  Problem problem;
  Schedule schedule;
};
} // namespace

/// The fastest schedules that are found on any placement of these stages, of one number of
/// micro-batches each.
static Refusal searchStages(Workload work, ArrayRef<int> counts, std::vector<Solution> &solutions) {
  const int perRank = static_cast<int>(work.parts.size()) / work.ranks;
  std::vector<std::vector<Problem>> places; // each with all counts
  Refusal why;
  // make(problem): of the workload as it is then.
  auto add = [&](llvm::function_ref<void(Problem &)> make) {
    std::vector<Problem> place;
    for (int count : counts) {
      work.microBatches = count;
      make(place.emplace_back());
      if (Refusal refusal = check(place.back())) {
        if (!why)
          why = refusal;
        return;
      }
    }
    if (llvm::none_of(places, [&](const std::vector<Problem> &other) {
          return other[0].rankOf == place[0].rankOf;
        }))
      places.push_back(std::move(place));
  };
  std::vector<Kind> kinds = generatorKinds();
  kinds.push_back({Kind::Interleaved, perRank});
  for (Kind kind : kinds) {
    if (kind.stages(work.ranks) != work.ranks * perRank)
      continue;
    // A placement is of use even where the order that gave it its name does not take these
    // micro-batches.
    add([&](Problem &place) { (void)scheduling::place(work, kind, place); });
  }
  add([&](Problem &place) { (void)placeSnake(work, perRank, place); });
  if (places.empty())
    return why;
  SearchOptions options;
  options.budget /= static_cast<long>(places.size() * counts.size());
  double fastest = std::numeric_limits<double>::infinity();
  why.reset();
  for (const std::vector<Problem> &place : places) {
    std::vector<Solution> found;
    double seconds = 0; // of a micro-batch, summed over the counts
    for (auto [problem, count] : llvm::zip(place, counts)) {
      SearchResult result;
      if (Refusal refusal = searchPlaced(problem, options, result)) {
        why = refusal;
        break;
      }
      seconds += result.timing.makespan / count;
      found.push_back({result.problem, result.schedule});
    }
    if (found.size() < counts.size() || seconds >= fastest)
      continue;
    fastest = seconds;
    solutions = std::move(found);
  }
  return std::isinf(fastest) ? why : Refusal();
}

namespace {

struct PipeSchedulePass : pipe::impl::PipeScheduleBase<PipeSchedulePass> {
  using PipeScheduleBase::PipeScheduleBase;

  void runOnOperation() override {
    if (failed(run(getOperation())))
      signalPassFailure();
  }

  LogicalResult run(ModuleOp module) {
    // 1. Check.
    SmallVector<StageOp> stages;
    if (failed(collectStages(module, stages)))
      return failure();
    const Location loc = stages.front().getLoc();
    const Ramp ramp = batchRampOf(module);
    if (!ramp.empty() && microBatches != 0)
      return emitError(loc) << "microbatches=" << int(microBatches)
                            << " and the module's pipe.batch_ramp both say how many micro-batches "
                               "a step has; leave one of them out";
    std::vector<int64_t> counts = {int64_t(microBatches)};
    if (!ramp.empty())
      counts = countsOf(ramp);
    auto nameOf = [&](int64_t count) {
      return counts.size() == 1 ? name.getValue() : name + "_" + std::to_string(count);
    };
    for (int64_t count : counts)
      if (Operation *taken = SymbolTable::lookupSymbolIn(module, nameOf(count)))
        return emitError(taken->getLoc())
               << "the symbol @" << nameOf(count) << " is taken by " << taken->getName()
               << "; give the schedule another with name=";
    Kind kindOf;
    if (Refusal refusal = parseKind(kind, kindOf))
      return emitError(loc) << *refusal;
    if (counts.front() < 1)
      return emitError(loc) << "a step of " << int(microBatches)
                            << " micro-batches cannot be; use microbatches=1 or more";
    if (const int64_t forwards = counts.back() * int64_t(stages.size()); forwards > kMostForwards)
      return emitError(loc) << counts.back() << " micro-batches of " << stages.size()
                            << " stages are " << forwards << " forwards, more than the "
                            << kMostForwards << " that a schedule may have; use microbatches="
                            << kMostForwards / stages.size() << " or fewer";
    FailureOr<int> count = chooseRanks(loc, kindOf, ranks, static_cast<int>(stages.size()));
    if (failed(count))
      return failure();

    // 2. Generate; what comes out is verified.
    Workload work;
    work.ranks = *count;
    work.pieces = 1;
    for (StageOp stage : stages)
      work.parts.push_back(stage.getStageCost());
    work.link = {latency, bandwidth};
    work.contention = contention;
    work.memoryLimit = memoryLimit;
    std::vector<Solution> solutions;
    if (Refusal refusal = solve(work, kindOf, {counts.begin(), counts.end()}, solutions))
      return emitError(loc) << (counts.size() > 1 ? "batch ramp: " : "") << *refusal;

    // 3. Rewrite.
    OpBuilder builder(module.getContext());
    StageOp last = stages.front();
    for (StageOp stage : stages)
      if (last->isBeforeInBlock(stage))
        last = stage;
    builder.setInsertionPointAfter(last);
    for (auto &[problem, schedule] : solutions) {
      if (join)
        joinNeighbours(problem, schedule);
      if (!messages)
        schedule.messages.clear();
      buildSchedule(builder, loc, nameOf(problem.totalMicroBatches()), problem, kindOf.str(),
                    schedule, stages);
    }
    return success();
  }

  /// One solution for each number of micro-batches, all on the same placement.
  static Refusal solve(Workload work, Kind kind, const std::vector<int> &counts,
                       std::vector<Solution> &solutions) {
    if (kind.name == Kind::Auto)
      return searchStages(work, counts, solutions);
    for (int count : counts) {
      work.microBatches = count;
      auto &[problem, schedule] = solutions.emplace_back();
      if (Refusal refusal = place(work, kind, problem))
        return refusal;
      if (Refusal refusal = generate(problem, kind, schedule))
        return refusal;
    }
    return {};
  }
};

} // namespace
