//===- Clock.cpp - What time a rank takes --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/Clock.h"
#include "dialects/nn/NNRows.h"
#include "dialects/pipe/Gradients.h"
#include "moire/Interp/Ranks.h"
#include "moire/Overlap/PartTimes.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Support/NodeNames.h"

using namespace mlir;
using namespace moire;
using namespace moire::interp;

void Clock::beginStep() {
  now = empty = left = 0;
  times = {};
  spans.clear();
  lateness.clear();
  ready.clear();
  inParts.clear();
}

RankTimes Clock::endStep() {
  waitUntil(empty);
  times.step = now;
  return times;
}

LogicalResult Clock::task(llvm::function_ref<LogicalResult()> begin,
                          llvm::function_ref<std::string()> name,
                          llvm::function_ref<LogicalResult()> run) {
  if (failed(begin()))
    return failure();
  published[0] = published[1] = std::nullopt;
  const double from = now;
  const RankTimes before = times;
  if (failed(run()))
    return failure();
  if (noting)
    spans.push_back({Span::Track::tasks, name(), from, now,
                     now - from - (times.computing - before.computing), times.late - before.late});
  return success();
}

void Clock::note(Span::Track track, Operation *op, double begin, double end) {
  if (!noting || end <= begin)
    return;
  spans.push_back({track, nameWithNode(op), begin, end});
}

void Clock::waitUntil(double time) {
  for (auto [from, to] : llvm::reverse(lateness)) {
    if (to <= now)
      break;
    times.late += std::max(0.0, std::min(to, time) - std::max(from, now));
  }
  now = std::max(now, time);
}

LogicalResult Clock::pass(Operation *op, ArrayRef<RuntimeValue> operands) {
  if (auto wait = dyn_cast<dist::WaitOp>(op)) {
    waitFor(wait.getAsync());
    return success();
  }
  if (isa<pipe::PublishOp>(op)) {
    published[op->hasAttr(pipe::kSecondAttr)] = now;
    return success();
  }
  const double part = partOf(op, operands);
  // The ops of a function that is called pass time themselves; those of the pipe dialect
  // where parameters are held.
  if (isa<func::CallOp>(op))
    return success();
  if (dist::isCollective(op)) {
    if (!isa_and_nonnull<dist::DistDialect>(op->getDialect()))
      return success();
    return transfer(op, operands, dyn_cast<dist::AsyncOp>(op->getParentOp()));
  }
  if (!isa<pipe::UpdateOp>(op))
    compute(op, part);
  return success();
}

void Clock::compute(Operation *op, double part) {
  const double seconds = costs.compute(op, part);
  times.computing += seconds;
  launches += seconds > 0;
  note(Span::Track::ops, op, now, now + seconds);
  now += seconds;
}

void Clock::waitFor(Operation *started) {
  waitUntil(ready.lookup(started));
  for (auto &[exchange, parts] : inParts)
    if (parts.async == started) {
      parts.computing = times.computing;
      parts.launches = launches;
    }
}

/// Passes what experts took more because their rows came in parts; of `back` seconds of rows that
/// go back, those that are left then.
double Clock::passParts(const Parts &parts, int64_t count, double back) {
  const double compute = times.computing - parts.computing,
               more = double(count - 1) * double(launches - parts.launches) * costs.overhead;
  const overlap::PartTimes split = overlap::partTimes(count, parts.come, compute + more, back);
  times.computing += more;
  now += split.span - compute;
  return split.rest;
}

LogicalResult Clock::transfer(Operation *op, ArrayRef<RuntimeValue> operands, Operation *starts,
                              double part) {
  auto rows = dyn_cast<dist::AllToAllRowsOp>(op);
  const int64_t count = rows && starts ? rows.getParts() : 1;
  const Value exchange = rows ? dist::behindWait(rows.getExchange()) : Value();
  double full = part * costs.transfer(op, rowsSent(op, operands)), left = full;
  if (count > 1) {
    full += double(count - 1) * costs.message(0).second;
    left = full;
    if (auto it = inParts.find(exchange); rows.getBack() && it != inParts.end())
      left = passParts(it->second, count, full);
  }
  const double came = std::max(now, empty);
  Tensor own(Float64Type::get(op->getContext()), {3});
  own.edit<double>()[0] = came;
  own.edit<double>()[1] = left;
  own.edit<double>()[2] = full;
  auto all = member.meet(op, dist::axesOf(op), own);
  if (failed(all))
    return failure();
  double begin = came, seconds = 0;
  full = 0;
  for (const RuntimeValue &one : *all) {
    begin = std::max(begin, one.tensor().floats()[0]);
    seconds = std::max(seconds, one.tensor().floats()[1]);
    full = std::max(full, one.tensor().floats()[2]);
  }
  if (begin > came)
    lateness.push_back({came, begin});
  times.moving += full;
  empty = begin + seconds;
  note(Span::Track::collectives, op, begin, empty);
  if (count > 1 && !rows.getBack()) {
    ready[starts] = begin + seconds / double(count);
    inParts[exchange] = {starts, seconds};
  } else if (starts)
    ready[starts] = empty;
  else
    waitUntil(empty);
  return success();
}

//===----------------------------------------------------------------------===//
// Rows of experts
//===----------------------------------------------------------------------===//

/// All rows of a routing.
static int64_t countRows(const Routing &routing) { return routing.offsets.back(); }

/// Rows from `source` to the experts that `holder` holds.
static int64_t rowsBetween(const Exchange &exchange, int64_t source, int64_t holder) {
  const Routing &routing = *exchange.routings[source];
  const int64_t local = routing.experts / (int64_t)exchange.routings.size();
  return routing.offsets[(holder + 1) * local] - routing.offsets[holder * local];
}

int64_t Clock::rowsSent(Operation *op, ArrayRef<RuntimeValue> operands) {
  auto move = dyn_cast<dist::AllToAllRowsOp>(op);
  if (!move)
    return 0;
  const Exchange &exchange = operands[1].exchange();
  int64_t count = 0;
  for (int64_t other = 0; other < (int64_t)exchange.routings.size(); ++other)
    if (other != exchange.index)
      count += move.getBack() ? rowsBetween(exchange, other, exchange.index)
                              : rowsBetween(exchange, exchange.index, other);
  return count;
}

/// Notes how many rows the op's results have.
double Clock::partOf(Operation *op, ArrayRef<RuntimeValue> operands) {
  int64_t there = -1, room = -1;
  auto fewer = [&](int64_t some, int64_t all) {
    if (some < all && (there < 0 || some * room < there * all)) {
      there = some;
      room = all;
    }
  };
  if (auto move = dyn_cast<dist::AllToAllRowsOp>(op)) {
    const Exchange &exchange = operands[1].exchange();
    int64_t count = 0;
    for (int64_t other = 0; other < (int64_t)exchange.routings.size(); ++other)
      count += move.getBack() ? rowsBetween(exchange, exchange.index, other)
                              : rowsBetween(exchange, other, exchange.index);
    fewer(count, nn::firstSize(move.getResult()));
  } else {
    for (auto [value, held] : llvm::zip_equal(op->getOperands(), operands)) {
      if (auto type = dyn_cast<nn::RoutingType>(value.getType()))
        fewer(countRows(held.routing()), type.getRows());
      else if (auto it = rows.find(dist::behindWait(value)); it != rows.end())
        fewer(it->second, nn::firstSize(value));
    }
  }
  for (Value result : op->getResults()) {
    if (there >= 0 && nn::firstSize(result) == room)
      rows[result] = there;
    else
      rows.erase(result);
  }
  return there < 0 ? 1 : double(there) / double(room);
}
