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

/// The fastest schedule that is found on any placement of these stages.
static Refusal searchStages(const Workload &work, Problem &problem, Schedule &schedule) {
  const int perRank = static_cast<int>(work.parts.size()) / work.ranks;
  std::vector<Problem> places;
  Refusal why;
  auto add = [&](const Problem &place) {
    Refusal refusal = check(place);
    if (refusal && !why)
      why = refusal;
    if (!refusal &&
        llvm::none_of(places, [&](const Problem &other) { return other.rankOf == place.rankOf; }))
      places.push_back(place);
  };
  std::vector<Kind> kinds = generatorKinds();
  kinds.push_back({Kind::Interleaved, perRank});
  for (Kind kind : kinds) {
    if (kind.stages(work.ranks) != work.ranks * perRank)
      continue;
    // A placement is of use even where the order that gave it its name does not take these
    // micro-batches.
    Problem place;
    (void)scheduling::place(work, kind, place);
    add(place);
  }
  Problem snake;
  (void)placeSnake(work, perRank, snake);
  add(snake);
  if (places.empty())
    return why;
  SearchOptions options;
  options.budget /= static_cast<long>(places.size());
  double fastest = std::numeric_limits<double>::infinity();
  why.reset();
  for (const Problem &place : places) {
    SearchResult result;
    if (Refusal refusal = searchPlaced(place, options, result)) {
      why = refusal;
      continue;
    }
    if (result.timing.makespan >= fastest)
      continue;
    fastest = result.timing.makespan;
    problem = result.problem;
    schedule = result.schedule;
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
    if (Operation *taken = SymbolTable::lookupSymbolIn(module, name))
      return emitError(taken->getLoc())
             << "the symbol @" << name << " is taken by " << taken->getName()
             << "; give the schedule another with name=";
    Kind kindOf;
    if (Refusal refusal = parseKind(kind, kindOf))
      return emitError(loc) << *refusal;
    if (microBatches < 1)
      return emitError(loc) << "a step of " << int(microBatches)
                            << " micro-batches cannot be; use microbatches=1 or more";
    if (const int64_t forwards = int64_t(microBatches) * stages.size(); forwards > kMostForwards)
      return emitError(loc) << int(microBatches) << " micro-batches of " << stages.size()
                            << " stages are " << forwards << " forwards, more than the "
                            << kMostForwards << " that a schedule may have; use microbatches="
                            << kMostForwards / stages.size() << " or fewer";
    FailureOr<int> count = chooseRanks(loc, kindOf, ranks, static_cast<int>(stages.size()));
    if (failed(count))
      return failure();

    // 2. Generate; what comes out is verified.
    Workload work;
    work.ranks = *count;
    work.microBatches = microBatches;
    work.pieces = 1;
    for (StageOp stage : stages)
      work.parts.push_back(stage.getStageCost());
    work.link = {latency, bandwidth};
    work.contention = contention;
    work.memoryLimit = memoryLimit;
    Problem problem;
    Schedule schedule;
    if (Refusal refusal = solve(work, kindOf, problem, schedule))
      return emitError(loc) << *refusal;
    if (join)
      joinNeighbours(problem, schedule);
    if (!messages)
      schedule.messages.clear();

    // 3. Rewrite.
    OpBuilder builder(module.getContext());
    StageOp last = stages.front();
    for (StageOp stage : stages)
      if (last->isBeforeInBlock(stage))
        last = stage;
    builder.setInsertionPointAfter(last);
    buildSchedule(builder, loc, name, problem, kindOf.str(), schedule, stages);
    return success();
  }

  static Refusal solve(const Workload &work, Kind kind, Problem &problem, Schedule &schedule) {
    if (kind.name == Kind::Auto)
      return searchStages(work, problem, schedule);
    if (Refusal refusal = place(work, kind, problem))
      return refusal;
    return generate(problem, kind, schedule);
  }
};

} // namespace
