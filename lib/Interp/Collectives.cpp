//===- Collectives.cpp - Ops of the dist dialect -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/dist/Dist.h"
#include "moire/Interp/Ranks.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::interp;

/// Piece `index` of `count` along a dim.
static Tensor piece(const Tensor &whole, int64_t dim, int64_t index, int64_t count) {
  SmallVector<int64_t> shape(whole.shape());
  shape[dim] /= count;
  Tensor part(whole.elementType(), shape);
  int64_t inner = 1;
  for (int64_t size : whole.shape().drop_front(dim + 1))
    inner *= size;
  int64_t run = shape[dim] * inner;
  dispatch(whole, [&](auto t) {
    auto from = whole.get<decltype(t)>();
    auto *to = part.edit<decltype(t)>().data();
    for (int64_t at = index * run; at < whole.size(); at += run * count)
      to = llvm::copy(from.slice(at, run), to);
  });
  return part;
}

static LogicalResult run(Call &call, const Membership &member, dist::AllReduceOp op) {
  auto given = member.meet(op, op.getAxes(), call.operands[0]);
  if (failed(given))
    return failure();
  call.yield(sumOf(*given));
  return success();
}

static LogicalResult run(Call &call, const Membership &member, dist::ReduceScatterOp op) {
  auto given = member.meet(op, op.getAxes(), call.operands[0]);
  if (failed(given))
    return failure();
  auto [index, count] = member.place(op.getAxes());
  call.yield(piece(sumOf(*given), op.getDim(), index, count));
  return success();
}

static LogicalResult run(Call &call, const Membership &member, dist::AllGatherOp op) {
  auto given = member.meet(op, op.getAxes(), call.operands[0]);
  if (failed(given))
    return failure();
  Tensor result(call.resultType());
  int64_t inner = 1;
  for (int64_t size : result.shape().drop_front(op.getDim()))
    inner *= size;
  int64_t run = inner / given->size();
  dispatch(result, [&](auto t) {
    auto *to = result.edit<decltype(t)>().data();
    for (int64_t outer = 0; outer < result.size() / inner; ++outer)
      for (const RuntimeValue &value : *given)
        to = llvm::copy(value.tensor().get<decltype(t)>().slice(outer * run, run), to);
  });
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, const Membership &member, dist::SplitOp op) {
  auto [index, count] = member.place(op.getAxes());
  call.yield(piece(call.in(0), op.getDim(), index, count));
  return success();
}

static LogicalResult run(Call &call, const Membership &member, dist::AxisIndexOp op) {
  Tensor result(call.resultType());
  result.edit<int64_t>()[0] = member.place(op.getAxes()).first;
  call.yield(std::move(result));
  return success();
}

//===----------------------------------------------------------------------===//
// Rows of experts
//===----------------------------------------------------------------------===//

static LogicalResult run(Call &call, const Membership &member, dist::ExchangeOp op) {
  auto given = member.meet(op, op.getAxes(), call.operands[0]);
  if (failed(given))
    return failure();
  auto exchange = std::make_shared<Exchange>();
  exchange->index = member.place(op.getAxes()).first;
  for (const RuntimeValue &value : *given)
    exchange->routings.push_back(value.sharedRouting());

  nn::RoutingType type = op.getLocal().getType();
  auto local = std::make_shared<Routing>();
  local->tokens = type.getTokens();
  local->k = 1;
  local->experts = type.getExperts();
  local->offsets = {0};
  for (int64_t e = 0; e < local->experts; ++e) {
    int64_t rows = 0;
    for (const auto &routing : exchange->routings)
      rows += routing->rowsOf(exchange->index * local->experts + e);
    local->offsets.push_back(local->offsets.back() + rows);
    local->expertOfRow.insert(local->expertOfRow.end(), rows, e);
  }
  if (local->offsets.back() > type.getRows())
    return call.error("gets " + Twine(local->offsets.back()) + " rows and has room for " +
                      Twine(type.getRows()) + "; a token chose one expert twice, or --expert-slots is too small for "
                      "moire-run, which runs no micro-batch in parts");
  call.results.push_back(std::shared_ptr<const Routing>(std::move(local)));
  call.results.push_back(std::shared_ptr<const Exchange>(std::move(exchange)));
  return success();
}

// `from` and `to` of each row are known to both sides, because all know all counts.
static LogicalResult run(Call &call, const Membership &member, dist::AllToAllRowsOp op) {
  const Exchange &exchange = call.operands[1].exchange();
  dist::ExchangeType type = op.getExchange().getType();
  auto given = member.meet(op, type.getAxes(), call.operands[0]);
  if (failed(given))
    return failure();
  Tensor result(call.resultType());
  int64_t width = result.shape()[1], ranks = given->size();
  int64_t experts = exchange.routings.front()->experts, local = experts / ranks;
  double *to = result.edit<double>().data();
  auto copyRows = [&](int64_t from, int64_t begin, int64_t count) {
    to = llvm::copy((*given)[from].tensor().floats().slice(begin * width, count * width), to);
  };
  if (!op.getBack()) {
    for (int64_t e = exchange.index * local; e < (exchange.index + 1) * local; ++e)
      for (int64_t source = 0; source < ranks; ++source)
        copyRows(source, exchange.routings[source]->offsets[e],
                 exchange.routings[source]->rowsOf(e));
  } else {
    // A holder's rows: by expert, then by the rank that they came from.
    for (int64_t holder = 0; holder < ranks; ++holder) {
      int64_t begin = 0;
      for (int64_t e = holder * local; e < (holder + 1) * local; ++e)
        for (int64_t source = 0; source < ranks; ++source) {
          int64_t rows = exchange.routings[source]->rowsOf(e);
          if (source == exchange.index)
            copyRows(holder, begin, rows);
          begin += rows;
        }
    }
  }
  call.yield(std::move(result));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateCollective(Call &call) {
  if (!isa_and_nonnull<dist::DistDialect>(call.op->getDialect()))
    return std::nullopt;
  if (!call.options.membership)
    return call.error("needs the other ranks of the mesh, which are not at hand here");
  const Membership &member = *call.options.membership;
  return llvm::TypeSwitch<Operation *, LogicalResult>(call.op)
      .Case<dist::AllReduceOp, dist::ReduceScatterOp, dist::AllGatherOp, dist::SplitOp,
            dist::AxisIndexOp, dist::ExchangeOp, dist::AllToAllRowsOp>(
          [&](auto op) { return run(call, member, op); })
      .Default([&](Operation *) { return call.error("cannot be executed by the interpreter"); });
}
