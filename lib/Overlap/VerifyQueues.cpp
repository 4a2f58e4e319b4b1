//===- VerifyQueues.cpp - Pass verify-queues -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "Steps.h"
#include "moire/Overlap/Passes.h"
#include "moire/Overlap/Queues.h"

namespace moire::overlap {
#define GEN_PASS_DEF_VERIFYQUEUES
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;

namespace {
struct VerifyQueues : overlap::impl::VerifyQueuesBase<VerifyQueues> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    ModuleOp module = getOperation();
    dist::MeshAttr mesh = dist::meshOf(module);
    if (!mesh)
      return;
    SmallVector<int64_t> two;
    for (int64_t size : mesh.getSizes())
      two.push_back(std::min<int64_t>(size, 2));
    mesh = dist::MeshAttr::get(&getContext(), mesh.getAxes(), two);

    // Meetings are numbered by collective and group.
    std::vector<Operation *> collectives;
    overlap::Queues queues(mesh.getRanks());
    std::map<std::pair<size_t, int64_t>, int> numbers;
    std::vector<size_t> collectiveOf; // by meeting
    // Functions of stages stand one after another: all ranks of a group run them in one order,
    // which the schedule's verifier proves for the messages between them.
    llvm::SetVector<func::FuncOp> functions = overlap::findSteps(module);
    if (auto reduce = module.lookupSymbol<func::FuncOp>("reduce_gradients"))
      functions.insert(reduce);
    for (func::FuncOp func : functions) {
      func.walk([&](Operation *op) {
        if (!dist::isCollective(op))
          return;
        ArrayAttr axes = dist::axesOf(op);
        for (int64_t rank = 0; rank < mesh.getRanks(); ++rank) {
          auto [it, isNew] = numbers.try_emplace(
              {collectives.size(), mesh.getGroup(rank, axes).front()}, int(numbers.size()));
          if (isNew)
            collectiveOf.push_back(collectives.size());
          queues[rank].push_back(it->second);
        }
        collectives.push_back(op);
      });
    }
    auto circle = overlap::findCircle(queues);
    if (!circle)
      return;
    auto [rank, meeting] = circle->waits.front();
    InFlightDiagnostic error = collectives[collectiveOf[meeting]]->emitError("rank ")
                               << rank << " waits here for a rank that waits for it elsewhere";
    for (auto [other, where] : llvm::drop_begin(circle->waits))
      error.attachNote(collectives[collectiveOf[where]]->getLoc()) << "rank " << other << " waits";
    error.report();
    signalPassFailure();
  }
};
} // namespace
