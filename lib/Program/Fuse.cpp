//===- Fuse.cpp - Pass fuse: elementwise clusters become linalg.generic --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Clusters.h"
#include "Elementwise.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_FUSE
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {

/// Moves windows and repetitions to their first reader, so that they do not
/// count as readers where they stand.
void sinkViews(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
    if (!isViewOp(&op) && !isa<nn::IotaOp>(op))
      continue;
    Operation *first = nullptr;
    for (Operation *user : op.getUsers())
      if (!first || user->isBeforeInBlock(first))
        first = user;
    if (first)
      op.moveBefore(first);
  }
}

/// Builds the linalg.generic of one cluster.
class KernelBuilder {
public:
  KernelBuilder(const Cluster &cluster, const DenseMap<Value, Value> &stored)
      : cluster(cluster), stored(stored), builder(cluster.position) {}

  /// One value per result of the cluster.
  SmallVector<Value> build() {
    auto type = cast<RankedTensorType>(cluster.results.front().getType());
    rank = type.getRank();
    for (Operation *op : cluster.ops)
      for (Value operand : op->getOperands())
        if (!cluster.ops.contains(operand.getDefiningOp()))
          addInput(operand);
    SmallVector<Value> empties;
    SmallVector<Type> types;
    for (Value result : cluster.results) {
      auto resultType = cast<RankedTensorType>(result.getType());
      empties.push_back(builder.create<tensor::EmptyOp>(location(), resultType.getShape(),
                                                        resultType.getElementType()));
      types.push_back(resultType);
      maps.push_back(builder.getMultiDimIdentityMap(rank));
    }
    auto generic = builder.create<linalg::GenericOp>(
        location(), types, inputs, empties, maps,
        SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
        [&](OpBuilder &b, Location loc, ValueRange arguments) { buildBody(b, loc, arguments); });
    return llvm::to_vector_of<Value>(generic.getResults());
  }

private:
  const Cluster &cluster;
  const DenseMap<Value, Value> &stored; ///< results of clusters built before
  OpBuilder builder;
  int64_t rank = 0;
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  DenseMap<Value, int64_t> inputOf; ///< by the operand, before looking behind it

  Location location() const {
    SmallVector<Location> parts;
    for (Operation *op : cluster.ops)
      parts.push_back(op->getLoc());
    return FusedLoc::get(cluster.position->getContext(), parts);
  }

  void addInput(Value operand) {
    if (inputOf.count(operand) || splatValue(operand) || operand.getDefiningOp<nn::IotaOp>())
      return;
    Value source = operand;
    AffineMap map = builder.getMultiDimIdentityMap(rank);
    if (auto broadcast = operand.getDefiningOp<nn::BroadcastOp>()) {
      source = broadcast.getInput();
      if (splatValue(source))
        return;
      SmallVector<unsigned> dims(broadcast.getDimensions().begin(),
                                 broadcast.getDimensions().end());
      map = AffineMap::getMultiDimMapWithTargets(rank, dims, builder.getContext());
    }
    if (Value known = stored.lookup(source))
      source = known;
    for (auto [i, input] : llvm::enumerate(inputs))
      if (input == source && maps[i] == map) {
        inputOf[operand] = i;
        return;
      }
    inputOf[operand] = inputs.size();
    inputs.push_back(source);
    maps.push_back(map);
  }

  Value scalarOf(OpBuilder &b, Location loc, Value operand, ValueRange arguments) {
    if (auto it = inputOf.find(operand); it != inputOf.end())
      return arguments[it->second];
    if (auto broadcast = operand.getDefiningOp<nn::BroadcastOp>())
      operand = broadcast.getInput();
    if (TypedAttr splat = splatValue(operand))
      return b.create<arith::ConstantOp>(loc, splat);
    auto iota = operand.getDefiningOp<nn::IotaOp>();
    Type element = elementOf(operand);
    Value index = b.create<linalg::IndexOp>(loc, iota.getDim());
    Value value = b.create<arith::IndexCastOp>(loc, b.getI64Type(), index);
    if (isa<FloatType>(element))
      return b.create<arith::SIToFPOp>(loc, element, value);
    if (element.getIntOrFloatBitWidth() < 64)
      return b.create<arith::TruncIOp>(loc, element, value);
    return value;
  }

  void buildBody(OpBuilder &b, Location loc, ValueRange arguments) {
    DenseMap<Value, Value> scalars;
    for (Operation *op : cluster.ops) {
      SmallVector<Value> operands;
      for (Value operand : op->getOperands()) {
        Value &scalar = scalars[operand];
        if (!scalar)
          scalar = scalarOf(b, loc, operand, arguments);
        operands.push_back(scalar);
      }
      Value result = buildScalar(b, op, operands);
      scalars[op->getResult(0)] = result;
    }
    SmallVector<Value> yields;
    for (Value result : cluster.results)
      yields.push_back(scalars[result]);
    b.create<linalg::YieldOp>(loc, yields);
  }
};

struct Fuse : program::impl::FuseBase<Fuse> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isDeclaration() || !func.getBody().hasOneBlock())
      return;
    // 1. Clusters.
    sinkViews(func.getBody().front());
    Folds folds(func);
    std::vector<Cluster> clusters = findClusters(func, folds);
    // 2. Kernels, in program order. Those of later clusters read the values
    // stored by earlier ones.
    DenseMap<Value, Value> stored;
    DenseSet<Operation *> fused;
    for (const Cluster &cluster : clusters) {
      SmallVector<Value> values = KernelBuilder(cluster, stored).build();
      for (auto [old, value] : llvm::zip(cluster.results, values))
        stored[old] = value;
      fused.insert(cluster.ops.begin(), cluster.ops.end());
      ++kernels;
    }
    // 3. Everything else reads the kernels' results; the old ops go.
    for (auto [old, value] : stored)
      old.replaceAllUsesWith(value);
    bool changed = true;
    while (std::exchange(changed, false))
      for (Operation &op :
           llvm::make_early_inc_range(llvm::reverse(func.getBody().front())))
        if (isOpTriviallyDead(&op)) {
          op.erase();
          changed = true;
        }
  }
};
} // namespace
