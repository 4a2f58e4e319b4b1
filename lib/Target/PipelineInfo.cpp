//===- PipelineInfo.cpp - Places of what the ranks of a pipeline hold ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "PipelineInfo.h"
#include "PairTasks.h"
#include "ProgramInfo.h"
#include "Text.h"
#include "moire/Program/Passes.h"
#include "llvm/ADT/MapVector.h"
#include <set>

using namespace mlir;
using namespace moire;
using namespace moire::target;
using namespace moire::scheduling;

int64_t StageEntry::messageBytes(StringRef role) const {
  int64_t bytes = 0;
  if (auto it = kept.find(role); it != kept.end())
    for (const Kept &tensor : it->second)
      bytes += llvm::alignTo(tensor.bytes, 64);
  return bytes;
}

SmallVector<int> PipelineEntry::sharersOf(int stage) const {
  SmallVector<int> result;
  for (int other = 0; other < program.numStages(); ++other)
    if (program.originalOf(other) == program.originalOf(stage))
      result.push_back(other);
  return result;
}

namespace {
class PipelineLayout {
public:
  explicit PipelineLayout(ProgramInfo &info) : info(info), pipeline(*info.pipeline) {}
  LogicalResult run();

private:
  LogicalResult readStage(int stage);
  void placeParameters(int rank);
  LogicalResult checkPlaces();
  void assignSlots(int rank);
  void countInboxes(int rank, int round, bool secondFirst);
  void placeMemory(int rank);

  ProgramInfo &info;
  PipelineEntry &pipeline;
};
} // namespace

LogicalResult PipelineLayout::readStage(int number) {
  StageEntry &entry = pipeline.stages.emplace_back();
  pipe::StageOp stage = pipeline.program.stages[number];
  auto bytes = stage->getAttrOfType<IntegerAttr>(program::kSlotBytesAttr);
  if (!bytes)
    return stage.emitOpError("has no ") << program::kSlotBytesAttr << "; run pack-slots first";
  entry.slotBytes = llvm::alignTo(bytes.getInt(), 64);
  std::map<std::pair<StringRef, int64_t>, exec::KeptOp> known;
  for (func::FuncOp func : pipeline.program.functionsOf(stage))
    for (auto kept : func.getBody().front().getOps<exec::KeptOp>()) {
      if (!kept.getOffset())
        return kept.emitOpError("has no offset; pass pack-slots gives it");
      known[{kept.getRole(), kept.getNumber()}] = kept;
    }
  for (auto &[key, kept] : known) {
    auto &list = entry.kept[key.first];
    if (key.first != pipe::kResidualAttr && int64_t(list.size()) != key.second)
      return kept.emitOpError("is number ") << key.second << " of its role, but there are only "
                                            << list.size() << " before it";
    list.push_back({int64_t(*kept.getOffset()), kept.getBytes()});
  }
  if (!pipeline.isShared(number) || pipeline.program.originalOf(number) != number)
    return success();
  std::set<unsigned> named;
  for (func::FuncOp func : pipeline.program.functionsOf(stage))
    func.walk([&](Operation *op) {
      if (auto name = op->getAttrOfType<FlatSymbolRefAttr>("parameter"))
        named.insert(info.parameterOf.lookup(name.getValue()));
    });
  entry.named.assign(named.begin(), named.end());
  return success();
}

/// Trained ones first, as in a program of one stage.
void PipelineLayout::placeParameters(int number) {
  StageRankEntry &rank = pipeline.ranks[number];
  const size_t count = info.parameters.size();
  rank.offset.assign(count, -1);
  rank.gradOffset.assign(count, -1);
  rank.stateOffset.assign(count, -1);
  auto take = [](int64_t &next, int64_t elements) {
    int64_t offset = next;
    next += llvm::alignTo(elements, 16);
    return offset;
  };
  auto heldHere = [&](const ParameterEntry &entry) {
    return llvm::is_contained(pipeline.program.holdersOf(entry.op.getSymNameAttr()), number);
  };
  for (bool trainable : {true, false})
    for (auto [i, entry] : llvm::enumerate(info.parameters)) {
      if (entry.trainable != trainable || !heldHere(entry))
        continue;
      rank.offset[i] = take(rank.paramElements, entry.elements);
      if (!trainable)
        continue;
      rank.gradOffset[i] = take(rank.gradElements, entry.gradElements);
      rank.stateOffset[i] = take(rank.stateElements, entry.stateElements);
    }
  // What the first stage accumulates lies where the sum will, others behind all: by stage, so that
  // the ranks of DualPipe that hold the same stages on other paths agree.
  for (auto [i, entry] : llvm::enumerate(info.parameters)) {
    std::set<int> stages;
    for (const auto &copy : pipeline.program.copiesOf(entry.op.getSymNameAttr()))
      if (copy.rank == number)
        stages.insert(copy.stage);
    for (int stage : stages)
      rank.copyOffset[{unsigned(i), stage}] = stage == *stages.begin()
                                                  ? rank.gradOffset[i]
                                                  : take(rank.gradElements, entry.gradElements);
  }
  if (auto reduce = info.module.lookupSymbol<func::FuncOp>("reduce_gradients"))
    for (auto sum : reduce.getOps<pipe::ReduceGradsOp>()) {
      BucketEntry bucket = makeBucket(info, sum, [&](unsigned parameter) {
        return rank.gradOffset[parameter];
      });
      if (!bucket.ranges.empty())
        rank.buckets.push_back(std::move(bucket));
    }
}

/// A function that several ranks run has one place for each parameter.
LogicalResult PipelineLayout::checkPlaces() {
  for (int stage = 0; stage < pipeline.program.numStages(); ++stage)
    for (const std::vector<int> &place : pipeline.program.rankOf()) {
      const StageRankEntry &mine = pipeline.ranks[place[stage]];
      const StageRankEntry &like = pipeline.ranks[pipeline.rankOf(stage)];
      if (mine.offset != like.offset || mine.copyOffset != like.copyOffset)
        return pipe::StageOp(pipeline.program.stages[stage])
            .emitOpError("is run by ranks ")
               << place[stage] << " and " << pipeline.rankOf(stage)
               << ", which hold different parameters";
    }
  return success();
}

/// The lowest slot that is free; a micro-batch has one from its forward to the end of its backward.
void PipelineLayout::assignSlots(int number) {
  StageRankEntry &rank = pipeline.ranks[number];
  std::map<int, std::vector<bool>> busy; // by stage; between rounds none is
  for (const pipe::PipelineProgram::Round &round : pipeline.program.rounds) {
    std::vector<StageRankEntry::Task> &tasks = rank.tasks.emplace_back();
    std::map<std::tuple<int, int, int>, int> slotOf; // by path, stage, micro-batch
    for (const Action &action : round.schedule.ranks[number]) {
      auto key = [&](int i) {
        return std::tuple<int, int, int>{action[i].path, action[i].stage, action[i].microBatch};
      };
      for (int i = 0; i < action.size(); ++i) {
        std::vector<bool> &slots = busy[action[i].stage];
        if (action[i].isForward()) {
          auto free = llvm::find(slots, false);
          slotOf[key(i)] = int(free - slots.begin());
          if (free == slots.end())
            slots.push_back(true);
          else
            *free = true;
        }
        tasks.push_back({action[i], slotOf[key(i)]});
      }
      if (func::FuncOp pair = pipeline.program.pairOf(action))
        tasks[tasks.size() - 2].pair = pair;
      // Both tasks of an action are under way at once.
      for (int i = 0; i < action.size(); ++i)
        if (action[i].accumulates())
          busy[action[i].stage][slotOf[key(i)]] = false;
    }
  }
  for (auto &[stage, slots] : busy)
    rank.held.push_back({stage, 0, int64_t(slots.size())});
}

/// Messages that can have come and wait: while the rank is about to do a task, its queue can have
/// got as far as the first message that it has yet to make. A pair takes all that it reads when it
/// begins; what its tasks make may leave in either order.
void PipelineLayout::countInboxes(int number, int round, bool secondFirst) {
  StageRankEntry &rank = pipeline.ranks[number];
  const std::vector<StageRankEntry::Task> &tasks = rank.tasks[round];
  const Problem &problem = pipeline.program.rounds[round].problem;
  std::map<std::tuple<bool, int, int, int>, int> makes, takes; // cotangent, path, stage, micro-batch
  bool joined = false; // with the task before it
  for (auto [i, entry] : llvm::enumerate(tasks)) {
    const Task &t = entry.task;
    const int made = int(i) + (secondFirst ? bool(entry.pair) - joined : 0),
              taken = int(i) - joined;
    joined = bool(entry.pair);
    if (t.isForward()) {
      makes[{false, t.path, t.stage, t.microBatch}] = made;
      takes[{false, t.path, t.stage - 1, t.microBatch}] = taken;
    } else if (t.isBackward()) {
      makes[{true, t.path, t.stage, t.microBatch}] = made;
      takes[{true, t.path, t.stage + 1, t.microBatch}] = taken;
    }
  }
  const auto &queue = pipeline.program.rounds[round].schedule.messages[number];
  auto keyOf = [](const Message &m) {
    return std::tuple<bool, int, int, int>{m.cotangent, m.path, m.stage, m.microBatch};
  };
  auto sentFrom = [&](const Message &m) { return problem.rankOf[m.path][m.stage] == number; };
  for (const Message &m : queue)
    if (!sentFrom(m))
      rank.inboxBytes = std::max(
          rank.inboxBytes, pipeline.stages[m.stage].messageBytes(
                               m.cotangent ? pipe::kInputCotangentAttr : pipe::kOutputAttr));
  // Two stages of this rank that follow each other.
  std::vector<std::pair<int, int>> local;
  for (auto &[key, made] : makes)
    if (auto it = takes.find(key); it != takes.end()) {
      local.push_back({made, it->second});
      rank.inboxBytes = std::max(
          rank.inboxBytes, pipeline.stages[std::get<2>(key)].messageBytes(
                               std::get<0>(key) ? pipe::kInputCotangentAttr : pipe::kOutputAttr));
    }
  for (int at = 0; at <= int(tasks.size()); ++at) {
    int64_t waiting = 0;
    for (const Message &m : queue) {
      if (sentFrom(m)) {
        if (makes[keyOf(m)] >= at)
          break;
      } else if (takes[keyOf(m)] >= at) {
        ++waiting;
      }
    }
    for (auto [made, taken] : local)
      waiting += made < at && at <= taken;
    rank.numInboxes = std::max(rank.numInboxes, waiting);
  }
}

/// Temporaries, then the stages' slots, then inboxes.
void PipelineLayout::placeMemory(int number) {
  StageRankEntry &rank = pipeline.ranks[number];
  auto round = [](int64_t bytes) { return int64_t(llvm::alignTo(bytes, 64)); };
  // What it runs, and in which stages first.
  llvm::MapVector<func::FuncOp, std::pair<int, int>> functions;
  for (const std::vector<StageRankEntry::Task> &tasks : rank.tasks)
    for (size_t i = 0; i < tasks.size(); ++i) {
      const Task &task = tasks[i].task;
      if (func::FuncOp pair = tasks[i].pair)
        functions.insert({pair, {task.stage, tasks[++i].task.stage}});
      else
        functions.insert({pipeline.program.functionOf(task), {task.stage, task.stage}});
    }
  for (auto &[func, stages] : functions) {
    int64_t end = 0;
    func.walk([&](exec::BufferOp buffer) {
      end = std::max(end, int64_t(*buffer.getOffset()) + buffer.getBytes());
    });
    if (round(end) > rank.temporaryBytes) {
      rank.temporaryBytes = round(end);
      const auto second = statementsOfSecond(func, info.inputs.size());
      rank.peak = findPeak(func, [&, stages = stages](Operation *op) {
        const int stage = second.contains(op) ? stages.second : stages.first;
        return nodeNames(op->getLoc(), 1,
                         [&](StringAttr name) { return pipeline.program.nodeOf(stage, name); });
      });
    }
  }
  int64_t next = rank.temporaryBytes;
  for (StageRankEntry::Held &held : rank.held) {
    held.offset = next;
    const int64_t bytes = held.slots * pipeline.stages[held.stage].slotBytes;
    next += bytes;
    rank.peak.push_back({std::to_string(held.slots) + (held.slots == 1 ? " micro-batch" : " micro-batches") +
                             " in flight in stage " + std::to_string(held.stage),
                         bytes});
  }
  rank.inboxBytes = round(rank.inboxBytes);
  rank.inboxOffset = next;
  next += rank.numInboxes * rank.inboxBytes;
  if (rank.numInboxes)
    rank.peak.push_back({std::to_string(rank.numInboxes) + (rank.numInboxes == 1 ? " message" : " messages") +
                             " between stages",
                         rank.numInboxes * rank.inboxBytes});
  rank.arenaBytes = next;
  info.arenaBytes = std::max(info.arenaBytes, next);
}

LogicalResult PipelineLayout::run() {
  for (int stage = 0; stage < pipeline.program.numStages(); ++stage)
    if (failed(readStage(stage)))
      return failure();
  pipeline.ranks.resize(pipeline.program.numRanks());
  if (llvm::any_of(pipeline.program.rounds, [](const pipe::PipelineProgram::Round &round) {
        return round.schedule.messages.empty();
      }))
    return info.module.emitError("has a schedule without queues; pipe-schedule{messages=true} "
                                 "writes them");
  for (int rank = 0; rank < pipeline.program.numRanks(); ++rank) {
    placeParameters(rank);
    assignSlots(rank);
    for (int round = 0; round < int(pipeline.program.rounds.size()); ++round)
      for (bool secondFirst : {false, true})
        countInboxes(rank, round, secondFirst);
    placeMemory(rank);
  }
  if (failed(checkPlaces()))
    return failure();
  // What is printed of the whole: of the rank that needs most.
  for (const StageRankEntry &rank : pipeline.ranks) {
    if (rank.arenaBytes == info.arenaBytes)
      info.peak = rank.peak;
    info.paramElements = std::max(info.paramElements, rank.paramElements);
    info.gradElements = std::max(info.gradElements, rank.gradElements);
    info.stateElements = std::max(info.stateElements, rank.stateElements);
  }
  return success();
}

LogicalResult target::layOutPipeline(ProgramInfo &info) { return PipelineLayout(info).run(); }
