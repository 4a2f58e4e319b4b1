//===- ScheduleIR.cpp - Schedules as IR and as plain data -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Pipe/ScheduleIR.h"

using namespace mlir;
using namespace moire;
using namespace moire::pipe;
using namespace moire::scheduling;

LogicalResult moire::readSchedule(ScheduleOp op, Problem &problem, Schedule &schedule) {
  SymbolTableCollection tables;
  return pipe::readSchedule(op, tables, problem, schedule);
}

static void buildTask(OpBuilder &builder, Location loc, const Task &task) {
  switch (task.kind) {
  case TaskKind::Forward:
    builder.create<ForwardOp>(loc, task);
    return;
  case TaskKind::Backward:
    builder.create<BackwardOp>(loc, task);
    return;
  case TaskKind::BackwardInput:
    builder.create<BackwardInputOp>(loc, task);
    return;
  case TaskKind::BackwardWeight:
    builder.create<BackwardWeightOp>(loc, task);
    return;
  }
}

static void buildActions(OpBuilder &builder, Location loc, Region &body,
                         const std::vector<Action> &actions) {
  for (const Action &action : actions) {
    builder.setInsertionPointToEnd(&body.front());
    if (action.second) {
      auto overlap = builder.create<OverlapOp>(loc);
      builder.setInsertionPointToEnd(&overlap.getBody().front());
      buildTask(builder, loc, action.first);
      buildTask(builder, loc, *action.second);
    } else {
      buildTask(builder, loc, action.first);
    }
  }
}

static void buildQueue(OpBuilder &builder, Location loc, Region &queue, int rank,
                       const Problem &problem, const std::vector<Message> &messages) {
  builder.setInsertionPointToEnd(&queue.front());
  for (const Message &message : messages) {
    const std::vector<int> &place = problem.rankOf[message.path];
    const int from = place[message.stage],
              into = place[message.stage + (message.cotangent ? -1 : 1)];
    if (from == rank)
      builder.create<SendOp>(loc, message, into);
    else
      builder.create<ReceiveOp>(loc, message, from);
  }
}

ScheduleOp moire::buildSchedule(OpBuilder &builder, Location loc, StringRef name,
                                const Problem &problem, StringRef kind, const Schedule &schedule,
                                ArrayRef<StageOp> stages) {
  SmallVector<Attribute> names;
  for (StageOp stage : stages)
    names.push_back(FlatSymbolRefAttr::get(stage.getSymNameAttr()));
  if (stages.empty())
    for (int s = 0; s < problem.numStages(); ++s)
      names.push_back(FlatSymbolRefAttr::get(
          builder.create<StageOp>(loc, "stage" + std::to_string(s), s, problem.stages[s])
              .getSymNameAttr()));
  auto op = builder.create<ScheduleOp>(loc, name, kind, names, problem);
  OpBuilder::InsertionGuard guard(builder);
  for (int r = 0; r < problem.ranks; ++r) {
    builder.setInsertionPointToEnd(&op.getBody().front());
    auto rank = builder.create<RankOp>(loc, r, !schedule.messages.empty());
    buildActions(builder, loc, rank.getBody(), schedule.ranks[r]);
    if (rank.hasQueue())
      buildQueue(builder, loc, rank.getQueue(), r, problem, schedule.messages[r]);
  }
  return op;
}
