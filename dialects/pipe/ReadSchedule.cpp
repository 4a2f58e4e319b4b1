//===- ReadSchedule.cpp - What a pipe.schedule says, and whether it runs --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/PipeSchedule.h"
#include <algorithm>
#include <limits>

using namespace mlir;
using namespace moire::pipe;
using namespace moire::scheduling;

/// Numbers beyond int are refused like all that are out of range.
static int narrow(int64_t value) {
  using Limits = std::numeric_limits<int>;
  return static_cast<int>(std::clamp<int64_t>(value, Limits::min(), Limits::max()));
}

template <class Op> static Task readTask(Op op) {
  const auto &target = op.getProperties();
  return {Op::kKind, narrow(target.path), narrow(target.stage), narrow(target.micro_batch)};
}

std::optional<Task> moire::pipe::taskOf(Operation *op) {
  if (auto forward = dyn_cast<ForwardOp>(op))
    return readTask(forward);
  if (auto backward = dyn_cast<BackwardOp>(op))
    return readTask(backward);
  if (auto input = dyn_cast<BackwardInputOp>(op))
    return readTask(input);
  if (auto weight = dyn_cast<BackwardWeightOp>(op))
    return readTask(weight);
  return {};
}

template <class Op> static Message readMessage(Op op) {
  const auto &target = op.getProperties();
  return {bool(target.cotangent), narrow(target.path), narrow(target.stage),
          narrow(target.micro_batch)};
}

std::optional<Message> moire::pipe::messageOf(Operation *op) {
  if (auto send = dyn_cast<SendOp>(op))
    return readMessage(send);
  if (auto receive = dyn_cast<ReceiveOp>(op))
    return readMessage(receive);
  return {};
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static LogicalResult readStages(ScheduleOp op, SymbolTableCollection &tables, Problem &problem) {
  for (auto name : op.getStages().getAsRange<FlatSymbolRefAttr>()) {
    auto stage = tables.lookupNearestSymbolFrom<StageOp>(op, name);
    if (!stage)
      return emitError(op.getLoc()) << "schedule @" << op.getSymName() << " names " << name
                                    << ", which is not a pipe.stage";
    if (stage.getIndex() != problem.numStages())
      return emitError(op.getLoc())
             << "schedule @" << op.getSymName() << " names " << name << " of index "
             << stage.getIndex() << " where the stage of index " << problem.numStages()
             << " is due; name the stages in order";
    problem.stages.push_back(stage.getStageCost());
  }
  return success();
}

static LogicalResult readLinks(ScheduleOp op, Problem &problem) {
  if (op.getLatency())
    problem.link.latency = op.getLatency()->convertToDouble();
  if (op.getBandwidth())
    problem.link.bandwidth = op.getBandwidth()->convertToDouble();
  if (!op.getLinks())
    return success();
  problem.links.assign(problem.ranks * problem.ranks, problem.link);
  std::vector<bool> seen(problem.links.size());
  for (auto attribute : op.getLinks()->getAsRange<LinkAttr>()) {
    const DirectedLink &link = attribute.getValue();
    if (link.from < 0 || link.from >= problem.ranks || link.to < 0 || link.to >= problem.ranks)
      return emitError(op.getLoc())
             << "the link from " << link.from << " to " << link.to << " leaves the "
             << problem.ranks << " ranks; use 0 to " << problem.ranks - 1;
    const int place = link.from * problem.ranks + link.to;
    if (seen[place])
      return emitError(op.getLoc()) << "the link from " << link.from << " to " << link.to
                                    << " is given twice; leave one out";
    seen[place] = true;
    problem.links[place] = link.link;
  }
  return success();
}

static Action readAction(Operation &op) {
  if (auto overlap = dyn_cast<OverlapOp>(op)) {
    Block &pair = overlap.getBody().front();
    return Action(*taskOf(&pair.front()), *taskOf(&pair.back()));
  }
  return Action(*taskOf(&op));
}

LogicalResult moire::pipe::readSchedule(ScheduleOp op, SymbolTableCollection &tables,
                                        Problem &problem, Schedule &schedule) {
  problem = Problem();
  schedule = Schedule();
  if (failed(readStages(op, tables, problem)))
    return failure();
  problem.microBatches.assign(op.getMicroBatches().begin(), op.getMicroBatches().end());
  for (auto ranks : op.getRanksOf().getAsRange<DenseI32ArrayAttr>())
    problem.rankOf.emplace_back(ranks.asArrayRef().begin(), ranks.asArrayRef().end());
  if (op.getContention())
    problem.contention = op.getContention()->convertToDouble();
  if (op.getMemoryLimit())
    problem.memoryLimit = op.getMemoryLimit()->convertToDouble();
  for (auto rank : op.getBody().getOps<RankOp>()) {
    std::vector<Action> &actions = schedule.ranks.emplace_back();
    for (Operation &action : rank.getBody().front())
      actions.push_back(readAction(action));
    if (!rank.hasQueue())
      continue;
    std::vector<Message> &queue = schedule.messages.emplace_back();
    for (Operation &message : rank.getQueue().front())
      queue.push_back(*messageOf(&message));
  }
  problem.ranks = static_cast<int>(schedule.ranks.size());
  return readLinks(op, problem);
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// The op that stands there, or the one around it.
static Operation *opAt(ScheduleOp schedule, const Position &position) {
  if (position.rank < 0)
    return schedule;
  auto rank = cast<RankOp>(*std::next(schedule.getBody().front().begin(), position.rank));
  if (position.index < 0)
    return rank;
  Region &region = position.message ? rank.getQueue() : rank.getBody();
  Operation *op = &*std::next(region.front().begin(), position.index);
  if (position.task < 0)
    return op;
  return &*std::next(cast<OverlapOp>(op).getBody().front().begin(), position.task);
}

/// Every send and receive stands at the end that it says, with the other end as its peer. The
/// messages are known to be the rank's.
static LogicalResult verifyPeers(ScheduleOp op, const Problem &problem) {
  for (auto rank : op.getBody().getOps<RankOp>()) {
    if (!rank.hasQueue())
      return success();
    for (Operation &end : rank.getQueue().front()) {
      const Message message = *messageOf(&end);
      const std::vector<int> &place = problem.rankOf[message.path];
      const int from = place[message.stage],
                into = place[message.stage + (message.cotangent ? -1 : 1)];
      const bool sends = from == rank.getNumber();
      const int peer = sends ? into : from;
      if (isa<SendOp>(end) != sends)
        return emitError(end.getLoc())
               << "rank " << rank.getNumber() << (sends ? " sends" : " receives")
               << " this message; use " << (sends ? "send, to " : "receive, from ") << peer;
      const int64_t named = sends ? cast<SendOp>(end).getPeer() : cast<ReceiveOp>(end).getPeer();
      if (named != peer)
        return emitError(end.getLoc())
               << "this message " << (sends ? "goes to rank " : "comes from rank ") << peer
               << ", not " << named << "; use " << (sends ? "to " : "from ") << peer;
    }
  }
  return success();
}

LogicalResult ScheduleOp::verifySymbolUses(SymbolTableCollection &tables) {
  Problem problem;
  Schedule schedule;
  if (failed(readSchedule(*this, tables, problem, schedule)))
    return failure();
  std::optional<Fault> fault = findFault(problem, schedule);
  if (!fault)
    return verifyPeers(*this, problem);
  // Not Operation::emitError: it would print the whole op again.
  InFlightDiagnostic error =
      mlir::emitError(opAt(*this, fault->position)->getLoc(), fault->sentence);
  for (const auto &[position, text] : fault->notes)
    error.attachNote(opAt(*this, position)->getLoc()) << text;
  return error;
}
