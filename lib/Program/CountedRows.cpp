//===- CountedRows.cpp - Rows of experts of which not all are there ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "CountedRows.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/NNBalance.h"
#include "dialects/nn/NNRows.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

CountedRows::CountedRows(func::FuncOp func) {
  // What another function of a stage has kept may be any of these.
  for (BlockArgument argument : func.getArguments())
    if (isa<nn::RoutingType>(argument.getType()))
      partial.insert(argument);
  for (Operation &op : func.getBody().front()) {
    if (auto async = dyn_cast<dist::AsyncOp>(op))
      for (Operation &inner : async.getBody().front())
        visit(&inner);
    visit(&op);
  }
}

void CountedRows::note(Value value, Value routing) {
  auto type = cast<nn::RoutingType>(routing.getType());
  if (partial.contains(routing) && nn::firstSize(value) == type.getRows())
    routings[value] = routing;
}

/// Whether some of the pairs may have no expert.
static bool leavesPairsOut(nn::RouteOp route) {
  Value ids = route.getIds();
  while (auto reshape = ids.getDefiningOp<nn::ReshapeOp>())
    ids = reshape.getInput();
  return isa_and_nonnull<nn::CapacityOp>(ids.getDefiningOp());
}

/// Whether `map` puts the first dim of the iteration space first.
static bool startsWithRows(AffineMap map) {
  return map.getNumResults() && map.getResult(0) == getAffineDimExpr(0, map.getContext());
}

void CountedRows::visit(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](dist::ExchangeOp exchange) { partial.insert(exchange.getLocal()); })
      .Case([&](dist::WaitOp wait) {
        for (Value value : wait.getValues()) {
          Value made = dist::behindWait(value);
          if (partial.contains(made))
            partial.insert(value);
          if (Value routing = routings.lookup(made))
            note(value, routing);
        }
      })
      .Case([&](nn::RouteOp route) {
        if (leavesPairsOut(route))
          partial.insert(route.getRouting());
      })
      .Case([&](dist::AllToAllRowsOp move) {
        auto exchange = dist::behindWait(move.getExchange()).getDefiningOp<dist::ExchangeOp>();
        if (exchange)
          note(move.getResult(), move.getBack() ? exchange.getRouting() : exchange.getLocal());
      })
      .Case([&](nn::DispatchOp dispatch) { note(dispatch.getRows(), dispatch.getRouting()); })
      .Case([&](nn::CombineGradOp grad) { note(grad.getDRows(), grad.getRouting()); })
      .Case<nn::GroupedMatmulOp, nn::PerExpertOp>(
          [&](auto product) { note(product.getResult(), product.getRouting()); })
      .Case([&](linalg::GenericOp kernel) {
        auto maps = kernel.getIndexingMapsArray();
        Value routing;
        for (auto [input, map] : llvm::zip(kernel.getInputs(), maps))
          if (!routing && startsWithRows(map))
            routing = routingOf(input);
        auto outputs = ArrayRef<AffineMap>(maps).take_back(kernel.getNumResults());
        if (routing && llvm::all_of(outputs, startsWithRows))
          for (Value result : kernel.getResults())
            note(result, routing);
      })
      .Default([&](Operation *other) {
        auto counted =
            llvm::find_if(other->getOperands(), [&](Value v) { return routings.contains(v); });
        if (counted != other->operand_end() && nn::treatsRowsAlike(other))
          for (Value result : other->getResults())
            note(result, routingOf(*counted));
      });
}
