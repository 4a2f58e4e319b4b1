//===- Zero.cpp - State, gradients and parameters in pieces --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Zero.h"
#include "llvm/ADT/StringSet.h"

namespace moire::distribute {
#define GEN_PASS_DEF_DISTRIBUTEZERO
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

namespace {
struct DistributeZero : distribute::impl::DistributeZeroBase<DistributeZero> {
  using DistributeZeroBase::DistributeZeroBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (level < 1 || level > 3) {
      emitError(module.getLoc(), "--zero takes 1, 2 or 3, not ") << level.getValue();
      return signalPassFailure();
    }
    auto reduce = module.lookupSymbol<func::FuncOp>("reduce_gradients");
    auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
    auto step = module.lookupSymbol<func::FuncOp>("optimizer_step");
    if (!reduce || !microStep || !step)
      return;
    if (failed(checkParts()))
      return signalPassFailure();
    auto sums = llvm::to_vector(reduce.getOps<pipe::ReduceGradsOp>());
    if (sums.empty())
      emitWarning(module.getLoc(), "--zero ")
          << level.getValue()
          << " divides what ranks of dp and ep hold alike, and there is nothing such "
          << "under the mesh " << dist::meshOf(module);
    // What the optimizer does not move, a router's bias, stays whole, in a bucket of its own.
    llvm::StringSet<> moved;
    for (auto update : step.getOps<pipe::UpdateOp>())
      moved.insert(update.getParameter());
    for (pipe::ReduceGradsOp &sum : sums)
      divide(sum, moved);
    llvm::erase_if(sums, [](pipe::ReduceGradsOp sum) { return !sum; });
    if (level >= 3)
      distribute::gatherReads(microStep);
    if (level >= 2)
      for (auto op : llvm::to_vector(microStep.getOps<pipe::AccumulateOp>()))
        accumulatePiece(op);
    // Buckets of gradients are those of parameters.
    auto builder = OpBuilder(step.getBody().front().getTerminator());
    for (pipe::ReduceGradsOp sum : sums) {
      if (level <= 2)
        builder.create<pipe::GatherOp>(sum.getLoc(), sum.getParameters(), sum.getAxes());
      if (level == 1)
        sum.setScatter(true);
      else
        sum.erase();
    }
  }

  /// With slots of a stated size each group of experts runs a micro-batch in as many parts
  /// as it must. Who meets others inside of it must run as many.
  LogicalResult checkParts() {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    if (level < 2 || mesh.getSize("dp") == 1)
      return success();
    if (!getOperation()->hasAttr("moire.expert_slots"))
      return success();
    return emitError(getOperation().getLoc(), "--expert-slots with --zero ")
           << level.getValue() << " and dp = " << mesh.getSize("dp")
           << " is not possible: ranks of dp may run a micro-batch in different numbers of parts, "
              "and meet in each; use --zero 1, or leave --expert-slots out";
  }

  /// Marks the parameters of one sum. Becomes null where there are none to mark.
  void divide(pipe::ReduceGradsOp &sum, const llvm::StringSet<> &moved) {
    SmallVector<Attribute> divided, whole;
    for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>()) {
      if (!moved.contains(name.getValue())) {
        whole.push_back(name);
        continue;
      }
      auto parameter = getOperation().lookupSymbol<pipe::ParameterOp>(name.getValue());
      parameter.setZero(level);
      parameter.setZeroAxesAttr(sum.getAxesAttr());
      divided.push_back(name);
    }
    OpBuilder b(sum);
    if (!whole.empty())
      b.create<pipe::ReduceGradsOp>(sum.getLoc(), b.getArrayAttr(whole), sum.getAxesAttr());
    sum.setParametersAttr(b.getArrayAttr(divided));
    if (divided.empty()) {
      sum.erase();
      sum = nullptr;
    }
  }

  /// The gradient of one micro-batch, flat and with the last pieces filled up, is summed
  /// over the group, and each rank accumulates its piece.
  void accumulatePiece(pipe::AccumulateOp op) {
    auto parameter = getOperation().lookupSymbol<pipe::ParameterOp>(op.getParameter());
    if (parameter.getZeroLevel() < 2)
      return;
    OpBuilder b(op);
    RankedTensorType piece = parameter.getPieceType();
    Value flat = op.getGradient();
    auto type = cast<RankedTensorType>(flat.getType());
    const int64_t elements = type.getNumElements();
    const int64_t all =
        piece.getNumElements() * dist::meshOf(op).getSize(parameter.getZeroAxesAttr());
    if (type.getRank() != 1)
      flat = b.create<nn::ReshapeOp>(op.getLoc(), type.clone({elements}), flat);
    if (all != elements)
      flat = b.create<nn::PadOp>(op.getLoc(), flat, ArrayRef<int64_t>{0},
                                 ArrayRef<int64_t>{all - elements}, ArrayRef<int64_t>{0},
                                 llvm::APFloat(0.0));
    Value sum = b.create<dist::ReduceScatterOp>(op.getLoc(), piece, flat, /*dim=*/0,
                                                parameter.getZeroAxesAttr());
    op.getGradientMutable().assign(sum);
  }
};
} // namespace
