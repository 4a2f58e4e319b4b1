//===- PublishOutputs.cpp - Pass publish-outputs -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moire/Overlap/Passes.h"
#include "moire/Pipe/PipelineProgram.h"

namespace moire::overlap {
#define GEN_PASS_DEF_PUBLISHOUTPUTS
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;

/// Whether an op takes no time.
static bool isFree(Operation &op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp, nn::ReverseOp,
             arith::ConstantOp, tensor::EmptyOp, pipe::ReadOp, pipe::PublishOp, func::ReturnOp>(op);
}

namespace {
struct PublishOutputs : overlap::impl::PublishOutputsBase<PublishOutputs> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func.getBody().hasOneBlock())
        for (bool second : {false, true})
          publish(func, second);
  }

  /// Behind the last op that makes what the task sends, if anything that takes time follows.
  void publish(func::FuncOp func, bool second) {
    Block &block = func.getBody().front();
    Operation *last = nullptr;
    bool sends = false;
    for (unsigned i = 0; i < func.getNumResults(); ++i) {
      const pipe::Port port = pipe::resultPort(func, i);
      if (port.second != second ||
          (port.role != pipe::kOutputAttr && port.role != pipe::kInputCotangentAttr))
        continue;
      sends = true;
      Operation *def = block.getTerminator()->getOperand(i).getDefiningOp();
      if (def && (!last || last->isBeforeInBlock(def)))
        last = def;
    }
    if (!sends || !last ||
        llvm::all_of(llvm::make_range(std::next(last->getIterator()), block.end()), isFree))
      return;
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfter(last);
    auto op = builder.create<pipe::PublishOp>(last->getLoc());
    if (second)
      op->setAttr(pipe::kSecondAttr, builder.getUnitAttr());
    ++published;
  }
};
} // namespace
