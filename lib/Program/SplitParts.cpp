//===- SplitParts.cpp - Pass split-parts ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_SPLITPARTS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;

/// The exchange of rows that is to move in parts, if an async holds one and nothing else.
static exec::AllToAllRowsOp moveOf(Operation *op) {
  auto async = dyn_cast<exec::AsyncOp>(op);
  if (!async || !llvm::hasSingleElement(async.getBody().front()))
    return {};
  auto move = dyn_cast<exec::AllToAllRowsOp>(async.getBody().front().front());
  return move && move->hasAttr(exec::kInPartsAttr) ? move : exec::AllToAllRowsOp();
}

/// The experts whose rows a statement is about, each row by itself; 0: it is another one.
static int64_t expertsOf(Operation *op) {
  Value routing;
  if (auto product = dyn_cast<exec::GroupedGemmOp>(op))
    routing = product.getRouting();
  else if (auto values = dyn_cast<exec::PerExpertOp>(op))
    routing = values.getRouting();
  else if (auto launch = dyn_cast<exec::LaunchOp>(op))
    routing = launch.getRows();
  return routing ? cast<nn::RoutingType>(routing.getType()).getExperts() : 0;
}

namespace {
struct Chain {
  exec::AsyncOp come, back;
  exec::WaitOp waitCome, waitBack;
  SmallVector<Operation *> places, statements; ///< in between
  int64_t parts;
};

struct SplitParts : program::impl::SplitPartsBase<SplitParts> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func.getBody().hasOneBlock())
        splitIn(func.getBody().front());
    // What stays whole needs no mark any longer.
    getOperation().walk([](exec::AllToAllRowsOp move) { move->removeAttr(exec::kInPartsAttr); });
  }

  void splitIn(Block &block) {
    SmallVector<Chain> chains;
    for (auto async : block.getOps<exec::AsyncOp>()) {
      exec::AllToAllRowsOp move = moveOf(async);
      if (!move || move.getBack())
        continue;
      Operation *between = nullptr;
      if (std::optional<Chain> chain = findChain(async, move, between)) {
        chains.push_back(*chain);
        continue;
      }
      // The program is right all the same, but slower than --explain says.
      InFlightDiagnostic warning = move.emitWarning("rows of experts were to move in ")
                                   << partsOf(move) << " parts and move as a whole: ";
      if (between)
        warning << between->getName() << " between their two ways is not about each expert's rows";
      else
        warning << "nothing computes them between their two ways";
    }
    if (chains.empty())
      return;
    for (auto [i, chain] : llvm::enumerate(chains))
      splitChain(chain, int64_t(i));
    renumber(block);
    split += chains.size();
  }

  static exec::WaitOp waitOf(exec::AsyncOp async) {
    for (Operation *op = async->getNextNode(); op; op = op->getNextNode())
      if (auto wait = dyn_cast<exec::WaitOp>(op); wait && wait.getNumber() == async.getNumber())
        return wait;
    return {};
  }

  static int64_t partsOf(exec::AllToAllRowsOp move) {
    return move->getAttrOfType<IntegerAttr>(exec::kInPartsAttr).getInt();
  }

  /// What belongs to the rows that come by `move`; else, if there is one, the statement `between`
  /// that cannot be done for some of them.
  static std::optional<Chain> findChain(exec::AsyncOp come, exec::AllToAllRowsOp move,
                                        Operation *&between) {
    Chain chain;
    chain.come = come;
    chain.waitCome = waitOf(come);
    chain.parts = partsOf(move);
    for (Operation *op = chain.waitCome ? chain.waitCome->getNextNode() : nullptr; op;
         op = op->getNextNode()) {
      if (exec::AllToAllRowsOp back = moveOf(op);
          back && back.getBack() &&
          exec::rootOf(back.getCounts()) == exec::rootOf(move.getCounts())) {
        chain.back = cast<exec::AsyncOp>(op);
        chain.waitBack = waitOf(chain.back);
        break;
      }
      if (isPure(op)) {
        chain.places.push_back(op);
      } else if (const int64_t experts = expertsOf(op); experts > 0 && experts % chain.parts == 0) {
        chain.statements.push_back(op);
      } else {
        between = op;
        return {};
      }
    }
    return chain.waitBack && !chain.statements.empty() ? std::optional(chain) : std::nullopt;
  }

  /// Numbers of the asyncs that are made: any that no other one has, until renumber().
  int64_t next = int64_t(1) << 40;

  void splitChain(Chain &chain, int64_t exchange) {
    for (Operation *place : chain.places)
      place->moveBefore(chain.waitCome);
    auto part = [&](Operation *op, int64_t index) {
      const int64_t numbers[] = {index, chain.parts, exchange};
      op->setAttr(exec::kPartAttr, DenseI64ArrayAttr::get(op->getContext(), numbers));
    };
    auto start = [&](OpBuilder &builder, exec::AsyncOp whole, int64_t index) {
      auto async = cast<exec::AsyncOp>(builder.clone(*whole));
      async.setNumber(next++);
      Operation &move = async.getBody().front().front();
      move.removeAttr(exec::kInPartsAttr);
      part(&move, index);
      return async;
    };
    OpBuilder builder(chain.come);
    SmallVector<exec::AsyncOp> come, back;
    for (int64_t i = 0; i < chain.parts; ++i)
      come.push_back(start(builder, chain.come, i));
    builder.setInsertionPoint(chain.waitCome);
    for (int64_t i = 0; i < chain.parts; ++i) {
      builder.create<exec::WaitOp>(chain.waitCome.getLoc(), come[i].getNumber());
      for (Operation *statement : chain.statements)
        part(builder.clone(*statement), i);
      back.push_back(start(builder, chain.back, i));
    }
    builder.setInsertionPoint(chain.waitBack);
    for (exec::AsyncOp async : back)
      builder.create<exec::WaitOp>(chain.waitBack.getLoc(), async.getNumber());
    for (Operation *op : chain.statements)
      op->erase();
    for (Operation *op : {chain.come.getOperation(), chain.back.getOperation(),
                          chain.waitCome.getOperation(), chain.waitBack.getOperation()})
      op->erase();
  }

  /// Asyncs count up in their order.
  static void renumber(Block &block) {
    DenseMap<int64_t, int64_t> numbers;
    for (Operation &op : block)
      if (auto async = dyn_cast<exec::AsyncOp>(op)) {
        const int64_t number = numbers.size();
        numbers[async.getNumber()] = number;
        async.setNumber(number);
      } else if (auto wait = dyn_cast<exec::WaitOp>(op)) {
        wait.setNumber(numbers.lookup(wait.getNumber()));
      }
  }
};
} // namespace
