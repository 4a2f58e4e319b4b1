//===- Recompute.cpp - What the backward keeps and what it computes again ===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An elementwise op inside a fused kernel costs less than the memory traffic of
// its result (an exp 0.4 ns an element, a store and a load of 4 bytes 0.8 ns),
// so the backward's elementwise ops may compute it again. What is kept instead
// is a cheapest vertex cut between what forward kernels produce and the
// backward's elementwise ops: Jain et al., Checkmate, 2020, in the form of
// PyTorch's min-cut partitioner (He & Yu, 2023).
//
// Products, attention, norms and everything else that is not elementwise are
// never computed again, and what the backward's own products read is kept.
//
//===----------------------------------------------------------------------===//
#include "MinCut.h"
#include "moire/Train/Passes.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINRECOMPUTE
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {

/// A value that is at hand at any time: nothing is saved by dropping it.
bool isFree(Value v) {
  Operation *op = v.getDefiningOp();
  return !op || isa<pipe::ReadOp, nn::IotaOp>(op) || op->hasTrait<OpTrait::ConstantLike>();
}

/// Bias and residual are added by the kernel that computes the product.
bool addsToProduct(Operation *op) {
  if (!isa<arith::AddFOp>(op))
    return false;
  for (Value v : op->getOperands()) {
    while (auto reshape = v.getDefiningOp<nn::ReshapeOp>())
      v = reshape.getInput();
    if (v.getDefiningOp<nn::MatmulOp>() || v.getDefiningOp<nn::GroupedMatmulOp>())
      return true;
  }
  return false;
}

/// The kernel of a product rounds what it adds up.
bool roundsProduct(Operation *op) {
  Operation *sum = isa<arith::TruncFOp>(op) ? op->getOperand(0).getDefiningOp() : nullptr;
  return sum && addsToProduct(sum);
}

/// A change of indices: free inside a fused kernel, but a copy for any other
/// reader.
bool isView(Operation *op) {
  return isa<nn::ReshapeOp, nn::BroadcastOp, nn::SliceOp, nn::TransposeOp>(op);
}

/// An op that costs nothing to repeat inside a fused kernel.
bool isCheap(Operation *op) {
  if (isa<nn::SigmoidOp>(op) || isView(op))
    return true;
  StringRef dialect = op->getDialect() ? op->getDialect()->getNamespace() : "";
  return (dialect == "arith" || dialect == "math") && !isFree(op->getResult(0)) &&
         !addsToProduct(op) && !roundsProduct(op);
}

int64_t bytesOf(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  if (!type)
    return 0;
  return type.getNumElements() * std::max(1u, type.getElementTypeBitWidth() / 8);
}

class Recomputation {
public:
  Recomputation(func::FuncOp func) : block(func.getBody().front()) {}
  void run();

private:
  struct Readers {
    bool forward = false, backward = false;
  };

  bool isForward(Operation *op) const { return forward.contains(op); }
  Readers readersOf(Value v);
  int64_t cost(Value v);
  int vertex(Value v);
  void buildGraph();
  bool isKept(Value v);
  Value again(Value v, OpBuilder &builder);

  Block &block;
  DenseSet<Operation *> forward;
  train::VertexCut graph;
  DenseMap<Value, int> vertices;
  DenseSet<Value> atHand; ///< costs nothing, so is read even where no cut is
  std::vector<bool> cut;
  DenseMap<Value, Value> repeated; ///< forward values computed again
};

/// 0 for what is at hand or kept anyway; a value that no forward kernel would
/// write to memory costs the store on top.
int64_t Recomputation::cost(Value v) {
  if (isFree(v))
    return 0;
  Readers readers = readersOf(v);
  if (readers.backward)
    return 0;
  bool stored = readers.forward || !isCheap(v.getDefiningOp());
  return bytesOf(v) * (stored ? 2 : 3);
}

/// Which passes hold a kernel that is not elementwise and reads `v`, as it is
/// or through a view.
Recomputation::Readers Recomputation::readersOf(Value v) {
  Readers readers;
  for (Operation *user : v.getUsers()) {
    if (isView(user)) {
      Readers further = readersOf(user->getResult(0));
      readers.forward |= further.forward;
      readers.backward |= further.backward;
    } else if (!isCheap(user)) {
      (isForward(user) ? readers.forward : readers.backward) = true;
    }
  }
  return readers;
}

int Recomputation::vertex(Value v) {
  auto [it, added] = vertices.try_emplace(v, 0);
  if (!added)
    return it->second;
  int64_t price = cost(v);
  if (price == 0)
    atHand.insert(v);
  int number = graph.addVertex(price);
  vertices[v] = number;
  Operation *op = v.getDefiningOp();
  if (isFree(v) || !isCheap(op)) {
    graph.setEntry(number);
    return number;
  }
  for (Value operand : op->getOperands())
    graph.addEdge(vertex(operand), number);
  return number;
}

void Recomputation::buildGraph() {
  for (Operation &op : block) {
    if (isForward(&op) || !isCheap(&op))
      continue;
    for (Value operand : op.getOperands())
      if (Operation *producer = operand.getDefiningOp(); producer && isForward(producer))
        graph.setExit(vertex(operand));
  }
}

bool Recomputation::isKept(Value v) {
  Operation *op = v.getDefiningOp();
  return isFree(v) || !isForward(op) || !isCheap(op) || atHand.contains(v) ||
         cut[vertices.lookup(v)];
}

/// `v`, or its producer repeated at the builder.
Value Recomputation::again(Value v, OpBuilder &builder) {
  if (isKept(v))
    return v;
  if (Value known = repeated.lookup(v))
    return known;
  IRMapping map;
  for (Value operand : v.getDefiningOp()->getOperands())
    map.map(operand, again(operand, builder));
  Value copy = builder.clone(*v.getDefiningOp(), map)->getResult(0);
  return repeated[v] = copy;
}

void Recomputation::run() {
  // Forward is what stands up to the loss.
  Operation *loss = block.getTerminator()->getOperand(0).getDefiningOp();
  if (!loss)
    return;
  for (Operation &op : block) {
    forward.insert(&op);
    if (&op == loss)
      break;
  }
  buildGraph();
  cut = graph.solve();
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (isForward(&op) || !isCheap(&op))
      continue;
    OpBuilder builder(&op);
    for (OpOperand &operand : op.getOpOperands())
      if (vertices.count(operand.get()))
        operand.set(again(operand.get(), builder));
  }
}

struct TrainRecompute : train::impl::TrainRecomputeBase<TrainRecompute> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.getSymName() == "micro_step" && func.getNumResults() > 0)
      Recomputation(func).run();
  }
};
} // namespace
