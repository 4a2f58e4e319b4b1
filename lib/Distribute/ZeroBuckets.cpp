//===- ZeroBuckets.cpp - Small pieces move together ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Distribute/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace moire::distribute {
#define GEN_PASS_DEF_BUCKETPIECES
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

static int64_t bytesOf(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getNumElements() * tensor.getElementTypeBitWidth() / 8;
}

/// Columns [begin, begin + columns) of a matrix, as one row after the other.
static Value flatColumns(OpBuilder &b, Location loc, Value matrix, int64_t begin, int64_t columns) {
  auto type = cast<RankedTensorType>(matrix.getType());
  const int64_t rows = type.getDimSize(0);
  Value part = b.create<nn::SliceOp>(loc, matrix, ArrayRef<int64_t>{0, begin},
                                     ArrayRef<int64_t>{rows, begin + columns},
                                     ArrayRef<int64_t>{1, 1});
  return b.create<nn::ReshapeOp>(loc, type.clone({rows * columns}), part);
}

static Location locationOf(ArrayRef<Operation *> ops) {
  SmallVector<Location> all;
  for (Operation *op : ops)
    all.push_back(op->getLoc());
  return FusedLoc::get(ops.front()->getContext(), all);
}

/// Whether `piece`, be it rounded, is this rank's piece of a parameter that it gathers.
static bool isPiece(Value piece) {
  if (auto round = piece.getDefiningOp<arith::TruncFOp>())
    piece = round.getIn();
  auto read = piece.getDefiningOp<pipe::ReadOp>();
  return read && SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(
                     read, read.getParameterAttr())
                         .getZeroLevel() >= 3;
}

/// The accumulation of a piece of a gradient; null for a sum of something else.
static pipe::AccumulateOp accumulateOf(dist::ReduceScatterOp sum) {
  return sum->hasOneUse() ? dyn_cast<pipe::AccumulateOp>(*sum->user_begin()) : pipe::AccumulateOp();
}

/// With what the parameter rests that a sum is for; null: with nothing, or it is a gather.
static StringAttr groupOf(Operation *op) {
  auto sum = dyn_cast<dist::ReduceScatterOp>(op);
  pipe::AccumulateOp accumulate = sum ? accumulateOf(sum) : pipe::AccumulateOp();
  if (!accumulate)
    return {};
  return SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(accumulate,
                                                                 accumulate.getParameterAttr())
      .getGroupAttr();
}

namespace {
struct BucketPieces : distribute::impl::BucketPiecesBase<BucketPieces> {
  using BucketPiecesBase::BucketPiecesBase;

  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    // Of a step that is cut into stages, each stage moves its own parameters.
    const bool isCutLater = mesh && mesh.getSize("pp") > 1;
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.getBody().empty() && !(isCutLater && func.getSymName() == "micro_step"))
        moveTogether(func.getBody().front());
  }

  void moveTogether(Block &block) {
    SmallVector<Operation *> gathers, sums;
    for (Operation &op : block) {
      if (auto gather = dyn_cast<dist::AllGatherOp>(op); gather && isPiece(gather.getInput()))
        gathers.push_back(gather);
      if (auto sum = dyn_cast<dist::ReduceScatterOp>(op); sum && accumulateOf(sum))
        sums.push_back(sum);
    }
    for (ArrayRef<Operation *> bucket : bucketsOf(gathers, [](Operation *op) {
           return cast<RankedTensorType>(op->getResult(0).getType());
         }))
      gatherTogether(bucket);
    for (ArrayRef<Operation *> bucket : bucketsOf(sums, [](Operation *op) {
           return cast<RankedTensorType>(op->getOperand(0).getType());
         }))
      sumTogether(bucket);
  }

  /// Ops in their order, by axes, element type and group. `wholeOf`: the tensor of all members'
  /// pieces.
  std::vector<SmallVector<Operation *>>
  bucketsOf(ArrayRef<Operation *> ops, llvm::function_ref<RankedTensorType(Operation *)> wholeOf) {
    int64_t largest = 0;
    for (Operation *op : ops)
      largest = std::max(largest, bytesOf(wholeOf(op)));
    const int64_t most = std::min<int64_t>(bucketBytes, largest / 4);
    struct Open {
      SmallVector<Operation *> ops;
      int64_t bytes = 0;
    };
    llvm::MapVector<std::tuple<Attribute, Type, StringAttr>, Open> open;
    std::vector<SmallVector<Operation *>> full;
    auto close = [&](Open &bucket) {
      if (bucket.ops.size() > 1)
        full.push_back(bucket.ops);
      bucket = {};
    };
    for (Operation *op : ops) {
      const int64_t bytes = bytesOf(wholeOf(op));
      if (bytes > most / 2)
        continue;
      Open &bucket = open[{op->getAttr("axes"), wholeOf(op).getElementType(), groupOf(op)}];
      if (bucket.bytes + bytes > most)
        close(bucket);
      bucket.ops.push_back(op);
      bucket.bytes += bytes;
    }
    for (auto &[key, bucket] : open)
      close(bucket);
    return full;
  }

  /// Before the first one. Each parameter is put together where it was gathered.
  void gatherTogether(ArrayRef<Operation *> gathers) {
    Operation *first = gathers.front();
    SmallVector<Value> pieces;
    SmallVector<int64_t> begins; // by gather
    llvm::MapVector<Value, int64_t> known;
    int64_t columns = 0;
    for (Operation *gather : gathers) {
      Value piece = gather->getOperand(0);
      auto [at, isNew] = known.try_emplace(piece, columns);
      begins.push_back(at->second);
      if (!isNew)
        continue;
      pieces.push_back(piece);
      columns += cast<RankedTensorType>(piece.getType()).getNumElements();
      // Reads and their roundings depend on nothing.
      SmallVector<Operation *, 2> chain{piece.getDefiningOp()};
      if (auto round = dyn_cast<arith::TruncFOp>(chain.front()))
        chain.insert(chain.begin(), round.getIn().getDefiningOp());
      for (Operation *op : chain)
        if (!op->isBeforeInBlock(first))
          op->moveBefore(first);
    }
    Location loc = locationOf(gathers);
    OpBuilder b(first);
    auto type = cast<RankedTensorType>(pieces.front().getType());
    const int64_t members =
        cast<RankedTensorType>(first->getResult(0).getType()).getNumElements() /
        type.getNumElements();
    Value mine = pieces.size() == 1 ? pieces.front()
                                    : b.create<nn::ConcatOp>(loc, pieces, /*dim=*/0).getResult();
    mine = b.create<nn::ReshapeOp>(loc, type.clone({1, columns}), mine);
    Value all = b.create<dist::AllGatherOp>(loc, type.clone({members, columns}), mine, /*dim=*/0,
                                            first->getAttrOfType<ArrayAttr>("axes"));
    for (auto [gather, begin] : llvm::zip_equal(gathers, begins)) {
      b.setInsertionPoint(gather);
      auto own = cast<RankedTensorType>(gather->getOperand(0).getType());
      Value whole = flatColumns(b, gather->getLoc(), all, begin, own.getNumElements());
      gather->getResult(0).replaceAllUsesWith(whole);
      gather->erase();
    }
  }

  /// After the last one, where all gradients are complete.
  void sumTogether(ArrayRef<Operation *> sums) {
    auto last = cast<dist::ReduceScatterOp>(sums.back());
    Location loc = locationOf(sums);
    OpBuilder b(last);
    SmallVector<Value> gradients;
    int64_t columns = 0;
    RankedTensorType type = last.getInput().getType();
    const int64_t members = type.getNumElements() / last.getType().getNumElements();
    for (Operation *sum : sums) {
      const int64_t piece = cast<RankedTensorType>(sum->getResult(0).getType()).getNumElements();
      gradients.push_back(b.create<nn::ReshapeOp>(sum->getLoc(), type.clone({members, piece}),
                                                  sum->getOperand(0)));
      columns += piece;
    }
    Value all = b.create<nn::ConcatOp>(loc, gradients, /*dim=*/1);
    Value mine = b.create<dist::ReduceScatterOp>(loc, type.clone({1, columns}), all, /*dim=*/0,
                                                 last.getAxes());
    int64_t begin = 0;
    for (Operation *sum : sums) {
      pipe::AccumulateOp accumulate = accumulateOf(cast<dist::ReduceScatterOp>(sum));
      const int64_t piece = cast<RankedTensorType>(sum->getResult(0).getType()).getNumElements();
      Value own = flatColumns(b, sum->getLoc(), mine, begin, piece);
      accumulate.getGradientMutable().assign(own);
      accumulate->moveBefore(&*b.getInsertionPoint());
      begin += piece;
    }
    for (Operation *sum : sums)
      sum->erase();
  }
};
} // namespace
