//===- Experts.cpp - Experts on the ranks of the axis ep -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Two kinds of values change their first dim:
//
//     experts   one entry per expert: weights, their gradients, expert biases
//     rows      one entry per (token, choice) pair between dispatch and combine
//
// They begin at the parameters and at the ops that take a routing, and reach
// further through ops that treat each entry of the first dim alike. Forward
// and backward need no different rules: all stand in one function.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNBalance.h"
#include "dialects/nn/NNRows.h"
#include "dialects/pipe/PipeBalance.h"
#include "mlir/IR/Matchers.h"
#include "moire/Distribute/Passes.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace moire::distribute {
#define GEN_PASS_DEF_DISTRIBUTEEXPERTS
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

static RankedTensorType withRows(Type type, int64_t rows) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = rows;
  return RankedTensorType::get(shape, tensor.getElementType());
}

namespace {
/// Distributes the experts of one function.
class Distribution {
public:
  Distribution(func::FuncOp func, dist::MeshAttr mesh, double slots)
      : func(func), slots(slots), ranks(mesh.getSize("ep")), shards(ranks * mesh.getSize("dp")),
        axes(ArrayAttr::get(func.getContext(), StringAttr::get(func.getContext(), "ep"))) {}

  /// Finds the parameters that hold experts' weights.
  LogicalResult findParameters(llvm::SetVector<StringAttr> &names);
  LogicalResult rewrite(const llvm::SetVector<StringAttr> &names);

private:
  struct Entries {
    int64_t before, after;
  };
  struct Route {
    Value local, exchange;
  };

  LogicalResult traceToParameter(Value value, llvm::SetVector<StringAttr> &names);
  LogicalResult checkExperts(nn::RouteOp op, int64_t experts);
  LogicalResult rewriteRouted(Operation *op, OpOperand &routing, const Route &route);
  LogicalResult carryOn(Operation *op);
  /// Gives the rows that come the slots of a stated size, or those that a capacity leaves.
  void limitRoom(dist::ExchangeOp exchange, nn::RouteOp route);
  /// Rows in the order of this rank's tokens, from where they are computed.
  Value bringBack(OpBuilder &builder, Value rows, const Route &route);
  void sendAway(Value rows, const Route &route);
  void setEntries(Value value, Entries entries) {
    changed[value] = entries;
    value.setType(withRows(value.getType(), entries.after));
  }

  func::FuncOp func;
  double slots; ///< rows that a rank has room for / pairs that it has; 0: all that can come
  int64_t ranks;
  int64_t shards; ///< ranks with different tokens
  ArrayAttr axes;
  llvm::DenseMap<Value, Route> routes;
  llvm::DenseMap<Value, Entries> changed;
  llvm::DenseMap<Value, Value> home; ///< rows that were brought back
};
} // namespace

//===----------------------------------------------------------------------===//
// Which parameters hold experts
//===----------------------------------------------------------------------===//

LogicalResult Distribution::traceToParameter(Value value, llvm::SetVector<StringAttr> &names) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return emitError(value.getLoc(), "experts' weights that are an input cannot be cut over ep");
  if (auto read = dyn_cast<pipe::ReadOp>(op)) {
    names.insert(read.getParameterAttr().getAttr());
    return success();
  }
  if (matchPattern(op, m_Constant()))
    return success();
  if (!nn::treatsRowsAlike(op))
    return op->emitError("experts' weights go through ")
           << op->getName() << " in a way that mixes experts, so they cannot be cut over ep";
  for (Value operand : op->getOperands())
    if (nn::firstSize(operand) == nn::firstSize(value) && failed(traceToParameter(operand, names)))
      return failure();
  return success();
}

LogicalResult Distribution::findParameters(llvm::SetVector<StringAttr> &names) {
  WalkResult result = func.walk([&](Operation *op) -> WalkResult {
    if (auto matmul = dyn_cast<nn::GroupedMatmulOp>(op))
      return traceToParameter(matmul.getWeight(), names);
    if (auto bias = dyn_cast<nn::PerExpertOp>(op))
      return traceToParameter(bias.getValues(), names);
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

LogicalResult Distribution::checkExperts(nn::RouteOp op, int64_t experts) {
  if (experts % ranks == 0)
    return success();
  int64_t below = ranks, above = ranks;
  while (experts % below != 0)
    --below;
  while (above < experts && experts % above != 0)
    ++above;
  InFlightDiagnostic error = op.emitError()
                             << experts << " experts cannot be cut over ep=" << ranks
                             << " ranks in equal numbers; the nearest that works is ep=" << below;
  if (above <= experts && experts % above == 0 && above != below)
    error << " or ep=" << above;
  return error;
}

Value Distribution::bringBack(OpBuilder &builder, Value rows, const Route &route) {
  // What the forward brought back is at hand in the backward.
  Value &back = home[rows];
  if (!back)
    back = builder.create<dist::AllToAllRowsOp>(rows.getLoc(), rows, route.exchange, /*back=*/true);
  return back;
}

void Distribution::sendAway(Value rows, const Route &route) {
  OpBuilder builder(func.getContext());
  builder.setInsertionPointAfterValue(rows);
  auto sent =
      builder.create<dist::AllToAllRowsOp>(rows.getLoc(), rows, route.exchange, /*back=*/false);
  rows.replaceAllUsesExcept(sent, sent);
  changed[sent] = {nn::firstSize(rows), nn::firstSize(sent)};
}

LogicalResult Distribution::rewriteRouted(Operation *op, OpOperand &routing, const Route &route) {
  auto whole = cast<nn::RoutingType>(routing.get().getType());
  auto local = cast<nn::RoutingType>(route.local.getType());
  OpBuilder builder(op);
  const Entries rows = {whole.getRows(), local.getRows()};
  const Entries experts = {whole.getExperts(), local.getExperts()};
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](nn::DispatchOp dispatch) {
        sendAway(dispatch.getRows(), route);
        return success();
      })
      .Case([&](nn::CombineOp combine) {
        combine.getRowsMutable().assign(bringBack(builder, combine.getRows(), route));
        return success();
      })
      .Case([&](nn::CombineGradOp grad) {
        grad.getRowsMutable().assign(bringBack(builder, grad.getRows(), route));
        sendAway(grad.getDRows(), route);
        return success();
      })
      .Case<nn::GroupedMatmulOp, nn::PerExpertOp>([&](Operation *product) {
        routing.set(route.local);
        setEntries(product->getResult(0), rows);
        return success();
      })
      .Case<nn::GroupedMatmulGradWeightOp, nn::PerExpertSumOp>([&](Operation *sum) {
        routing.set(route.local);
        setEntries(sum->getResult(0), experts);
        return success();
      })
      .Default([](Operation *other) {
        return other->emitError("cannot be distributed over ep: ")
               << other->getName() << " has no rule";
      });
}

/// What limits the pairs that a routing holds, or null.
static nn::CapacityOp capacityOf(nn::RouteOp route) {
  Value ids = route.getIds();
  while (auto reshape = ids.getDefiningOp<nn::ReshapeOp>())
    ids = reshape.getInput();
  return ids.getDefiningOp<nn::CapacityOp>();
}

void Distribution::limitRoom(dist::ExchangeOp exchange, nn::RouteOp route) {
  auto local = cast<nn::RoutingType>(exchange.getLocal().getType());
  auto type = cast<dist::ExchangeType>(exchange.getExchange().getType());
  int64_t room = local.getTokens();
  if (slots > 0) {
    double wanted = std::ceil(slots * static_cast<double>(type.getSent()) * (1 - 1e-12));
    room = static_cast<int64_t>(std::min(static_cast<double>(room), wanted));
  }
  if (nn::CapacityOp capacity = capacityOf(route)) {
    // An expert takes as many pairs of all ranks' tokens as that.
    int64_t each = nn::capacityOf(capacity.getFactor().convertToDouble(), type.getSent() * shards,
                                  local.getExperts() * ranks);
    room = std::min(room, each * local.getExperts());
  }
  if (room == local.getTokens())
    return;
  MLIRContext *context = func.getContext();
  exchange.getLocal().setType(nn::RoutingType::get(context, room, 1, local.getExperts()));
  exchange.getExchange().setType(
      dist::ExchangeType::get(context, type.getAxes(), type.getSent(), room));
}

LogicalResult Distribution::carryOn(Operation *op) {
  auto first = llvm::find_if(op->getOperands(), [&](Value v) { return changed.contains(v); });
  if (first == op->operand_end() || isa<pipe::AccumulateOp>(op))
    return success();
  const Entries entries = changed.lookup(*first);
  for (OpOperand &operand : op->getOpOperands()) {
    if (changed.contains(operand.get()))
      continue;
    DenseElementsAttr constant;
    if (nn::firstSize(operand.get()) != entries.before)
      continue;
    if (matchPattern(operand.get(), m_Constant(&constant)) && constant.isSplat()) {
      OpBuilder builder(op);
      auto type = withRows(operand.get().getType(), entries.after);
      operand.set(
          builder.create<arith::ConstantOp>(operand.get().getLoc(), constant.resizeSplat(type)));
      changed[operand.get()] = entries;
      continue;
    }
    return op->emitError("mixes rows of experts, which are cut over ep, with other values");
  }
  // The op's own sizes are still those of before.
  OperandRange operands = op->getOperands();
  for (Value operand : operands)
    if (changed.contains(operand))
      operand.setType(withRows(operand.getType(), entries.before));
  bool alike = nn::treatsRowsAlike(op);
  for (Value operand : operands)
    if (changed.contains(operand))
      operand.setType(withRows(operand.getType(), entries.after));
  if (!alike)
    return op->emitError("experts' values go through ")
           << op->getName() << " in a way that mixes rows, so they cannot be cut over ep";
  if (auto slice = dyn_cast<nn::SliceOp>(op)) {
    SmallVector<int64_t> limits(slice.getLimits());
    limits[0] = entries.after;
    slice.setLimits(limits);
  }
  for (Value result : op->getResults())
    if (nn::firstSize(result) == entries.before)
      setEntries(result, entries);
  return success();
}

LogicalResult Distribution::rewrite(const llvm::SetVector<StringAttr> &names) {
  // Ops that are inserted on the way are right already.
  SmallVector<Operation *> ops;
  for (Operation &op : func.getBody().front())
    ops.push_back(&op);
  for (Operation *op : ops) {
    if (auto read = dyn_cast<pipe::ReadOp>(op)) {
      if (names.contains(read.getParameterAttr().getAttr()))
        setEntries(read.getResult(), {nn::firstSize(read.getResult()), nn::firstSize(read.getResult()) / ranks});
      continue;
    }
    if (auto route = dyn_cast<nn::RouteOp>(op)) {
      if (failed(checkExperts(route, route.getRouting().getType().getExperts())))
        return failure();
      OpBuilder builder(op->getContext());
      builder.setInsertionPointAfter(op);
      auto exchange =
          builder.create<dist::ExchangeOp>(op->getLoc(), route.getRouting(), axes, ranks);
      limitRoom(exchange, route);
      routes[route.getRouting()] = {exchange.getLocal(), exchange.getExchange()};
      continue;
    }
    auto routing = llvm::find_if(
        op->getOpOperands(), [&](OpOperand &operand) { return routes.contains(operand.get()); });
    const bool isRouted = routing != op->getOpOperands().end();
    if (failed(isRouted ? rewriteRouted(op, *routing, routes[routing->get()]) : carryOn(op)))
      return failure();
  }
  return success();
}

namespace {
struct DistributeExperts : distribute::impl::DistributeExpertsBase<DistributeExperts> {
  using DistributeExpertsBase::DistributeExpertsBase;

  /// A micro-batch whose rows find no room is run again in parts, whose other labels do not count.
  LogicalResult checkSlots(ModuleOp module, dist::MeshAttr mesh) {
    if (!(slots > 0))
      return emitError(module.getLoc(), "--expert-slots must be more than 0, as 1.5 is");
    if (!mesh || mesh.getSize("ep") == 1)
      return emitError(module.getLoc(), "--expert-slots is for experts on several ranks; give ep "
                                        "in --mesh, or leave it out");
    auto is = [&](StringRef name, StringRef value) {
      auto attr = module->getAttrOfType<StringAttr>(name);
      return attr && attr.getValue() == value;
    };
    if (is("moire.loss", "mse") || is("moire.count", "none"))
      return emitError(module.getLoc(), "--expert-slots needs a loss of labels that count one by "
                                        "one, which this model's is not; leave it out");
    bool whole = false;
    module.walk([&](Operation *op) { whole |= isa<nn::BatchSumOp, nn::CapacityOp, pipe::BalanceOp>(op); });
    if (whole)
      return emitError(module.getLoc(),
                       "--expert-slots runs a micro-batch in parts where its rows find no room, and "
                       "--aux-loss, --z-loss, --router-bias-rate and --capacity-factor look at all "
                       "of it; leave out the one or the others");
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    dist::MeshAttr mesh = dist::meshOf(module);
    if (slots != 0 && failed(checkSlots(module, mesh)))
      return signalPassFailure();
    if (!mesh || mesh.getSize("ep") == 1)
      return;
    for (auto func : module.getOps<func::FuncOp>()) {
      if (slots > 0) // rows may find no room in what is emitted
        module->setAttr("moire.expert_slots", Builder(&getContext()).getF64FloatAttr(slots));
      Distribution distribution(func, mesh, slots);
      llvm::SetVector<StringAttr> names;
      if (failed(distribution.findParameters(names)) || failed(distribution.rewrite(names)))
        return signalPassFailure();
      for (StringAttr name : names) {
        auto parameter = module.lookupSymbol<pipe::ParameterOp>(name);
        auto type = cast<RankedTensorType>(parameter.getType());
        parameter.setShardingAttr(
            dist::ShardingAttr::split(&getContext(), type.getRank(), 0, "ep"));
      }
    }
  }
};
} // namespace
