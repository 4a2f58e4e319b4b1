//===- SplitExchanges.cpp - Pass split-exchanges -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertChain.h"
#include "OpProblem.h"
#include "Steps.h"
#include "moire/Overlap/PartTimes.h"
#include "moire/Overlap/Passes.h"
#include "llvm/ADT/SetVector.h"
#include <numeric>

namespace moire::overlap {
#define GEN_PASS_DEF_SPLITEXCHANGES
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

/// Smaller gains, as a part of what the rows take on the way, are not worth more messages.
static constexpr double kLeastGain = 0.05;
/// More parts hide little more, and each takes its launches and messages.
static constexpr int64_t kMostParts = 8;

namespace {
struct SplitExchanges : overlap::impl::SplitExchangesBase<SplitExchanges> {
  using SplitExchangesBase::SplitExchangesBase;

  void runOnOperation() override {
    Rates given;
    if (std::string error = given.parse(rates); !error.empty()) {
      emitError(getOperation().getLoc(), error);
      return signalPassFailure();
    }
    // Experts with slots send messages of one length.
    if (getOperation()->hasAttr("moire.expert_slots"))
      return;
    for (func::FuncOp step : findSteps(getOperation()))
      splitIn(step.getBody().front(), given);
  }

  static Timetable inOrder(const OpProblem &ops) {
    std::vector<int> order(ops.ops.size());
    std::iota(order.begin(), order.end(), 0);
    return simulate(ops.problem, order);
  }

  void splitIn(Block &block, const Rates &given) {
    SmallVector<std::pair<ExpertChain, int64_t>> split;
    const OpProblem ops = makeProblem(block, given);
    const Timetable before = inOrder(ops);
    llvm::DenseMap<Operation *, int> task;
    for (auto [i, op] : llvm::enumerate(ops.ops))
      task[op] = int(i);
    for (dist::AsyncOp async : block.getOps<dist::AsyncOp>())
      if (std::optional<ExpertChain> chain = findChain(async))
        if (const int64_t parts = bestParts(*chain, ops, before, task, given); parts > 1)
          split.push_back({*chain, parts});
    if (split.empty())
      return;
    // What stands between the ops of a chain, though it does not belong there, must leave.
    SmallVector<Operation *> order;
    for (Operation &op : block)
      order.push_back(&op);
    for (auto &[chain, parts] : split)
      if (gather(chain)) {
        chain.comeMove.setParts(parts);
        chain.backMove.setParts(parts);
      }
    if (inOrder(makeProblem(block, given)).seconds < before.seconds) {
      for (auto &[chain, parts] : split)
        exchanges += chain.getParts() > 1;
      return;
    }
    for (auto &[chain, parts] : split) {
      chain.comeMove.setParts(1);
      chain.backMove.setParts(1);
    }
    for (Operation *op : order)
      op->moveBefore(&block, block.end());
  }

  /// In how many parts the chain takes the least time beside what hides it now.
  int64_t bestParts(const ExpertChain &chain, const OpProblem &ops, const Timetable &t,
                    const llvm::DenseMap<Operation *, int> &task, const Rates &given) {
    const int come = task.lookup(chain.come), back = task.lookup(chain.back);
    double compute = 0;
    int launches = 0;
    for (Operation *op : chain.ops) {
      const double seconds = ops.problem.tasks[task.lookup(op)].seconds;
      compute += seconds;
      launches += seconds > 0;
    }
    const double comes = ops.problem.tasks[come].seconds, goes = ops.problem.tasks[back].seconds;
    const double hiddenFirst = comes - waited(come, ops, t),
                 hiddenRest = goes - waited(back, ops, t);
    auto seconds = [&](int64_t parts) {
      const double more = double(parts - 1);
      const PartTimes times =
          partTimes(parts, comes + more * given.latency, compute + more * launches * given.overhead,
                    goes + more * given.latency);
      return std::max(0.0, times.first - hiddenFirst) + times.span +
             std::max(0.0, times.rest - hiddenRest);
    };
    int64_t best = 1;
    for (int64_t parts = 2; parts <= std::min(kMostParts, chain.experts); ++parts)
      if (chain.experts % parts == 0 && seconds(parts) < seconds(best))
        best = parts;
    return seconds(1) - seconds(best) > kLeastGain * (comes + goes) ? best : 1;
  }

  /// How long the thread waits for a transfer.
  static double waited(int transfer, const OpProblem &ops, const Timetable &t) {
    double free = 0;
    for (size_t i = 0; i < ops.ops.size(); ++i) {
      const Task &task = ops.problem.tasks[i];
      if (llvm::is_contained(task.after, transfer))
        break;
      if (task.resource == Resource::compute)
        free = std::max(free, t.end[i]);
    }
    return std::clamp(t.end[transfer] - free, 0.0, ops.problem.tasks[transfer].seconds);
  }

  /// Moves what the chain needs of others in front of its wait, all else that stands in it
  /// behind it. False, where nothing moves: the chain needs some of that.
  static bool gather(ExpertChain &chain) {
    Operation *wait = chain.come.getWait();
    llvm::SetVector<Operation *> own(chain.ops.begin(), chain.ops.end());
    llvm::SetVector<Operation *> early, late; // in the block's order
    for (Operation *op = wait->getNextNode(); op != chain.back.getOperation();
         op = op->getNextNode()) {
      bool mustFollow = !isMemoryEffectFree(op), needsLate = false;
      op->walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (Operation *def = operand.getDefiningOp()) {
            needsLate |= late.contains(def);
            mustFollow |= def == wait || own.contains(def);
          }
      });
      if (own.contains(op) && needsLate)
        return false;
      if (!own.contains(op))
        (mustFollow || needsLate ? late : early).insert(op);
    }
    for (Operation *op : early)
      op->moveBefore(wait);
    for (Operation *op : llvm::reverse(late))
      op->moveAfter(chain.back);
    return true;
  }
};
} // namespace
