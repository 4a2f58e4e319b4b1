//===- Batch.cpp - What is taken over a whole micro-batch ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNBalance.h"
#include "mlir/IR/Matchers.h"
#include "moire/Distribute/Passes.h"

namespace moire::distribute {
#define GEN_PASS_DEF_DISTRIBUTEBATCH
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

namespace {
struct DistributeBatch : distribute::impl::DistributeBatchBase<DistributeBatch> {
  using DistributeBatchBase::DistributeBatchBase;

  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    if (!mesh)
      return;
    // Ranks that differ in these hold different tokens.
    SmallVector<Attribute> axes;
    for (StringRef axis : {"dp", "ep"})
      if (mesh.getSize(axis) > 1)
        axes.push_back(StringAttr::get(&getContext(), axis));
    if (axes.empty())
      return;
    auto over = ArrayAttr::get(&getContext(), axes);
    const int64_t ranks = mesh.getSize(over);
    getOperation().walk([&](nn::BatchSumOp op) { sum(op, over, ranks); });
    getOperation().walk([&](nn::CapacityOp op) { countAll(op, over, ranks); });
  }

  /// Shards are numbered as the ranks' micro-batches are: dp, then ep.
  void countAll(nn::CapacityOp op, ArrayAttr axes, int64_t ranks) {
    OpBuilder b(op);
    auto counts = op.getCounts().getType();
    SmallVector<int64_t> shape(counts.getShape());
    shape[0] *= ranks;
    Value all = b.create<dist::AllGatherOp>(op.getLoc(), counts.clone(shape), op.getCounts(), 0, axes);
    Value shard = b.create<dist::AxisIndexOp>(op.getLoc(), op.getShard().getType(), axes);
    op.getCountsMutable().assign(all);
    op.getShardMutable().assign(shard);
  }

  void sum(nn::BatchSumOp op, ArrayAttr axes, int64_t ranks) {
    OpBuilder b(op);
    Value whole;
    DenseElementsAttr constant;
    if (matchPattern(op.getInput(), m_Constant(&constant)) && constant.isSplat()) {
      APFloat value = constant.getSplatValue<APFloat>();
      Type element = op.getType().getElementType();
      double times = value.convertToDouble() * static_cast<double>(ranks);
      whole = b.create<arith::ConstantOp>(
          op.getLoc(), DenseElementsAttr::get(op.getType(), b.getFloatAttr(element, times)));
    } else {
      whole = b.create<dist::AllReduceOp>(op.getLoc(), op.getInput(), axes);
    }
    op.replaceAllUsesWith(whole);
    op.erase();
  }
};
} // namespace
