//===- ChunkLogits.cpp - Pass chunk-logits -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_CHUNKLOGITS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {
/// The statements around one buffer of logits [N, V].
struct Head {
  exec::BufferOp buffer;
  exec::GemmOp product;                 ///< logits = hidden * weight
  exec::CrossEntropyOp entropy;         ///< in place: logits become their cotangent
  SmallVector<exec::GemmOp, 2> readers; ///< d_hidden and d_weight
};

struct ChunkLogits : program::impl::ChunkLogitsBase<ChunkLogits> {
  using ChunkLogitsBase::ChunkLogitsBase;

  void runOnOperation() override {
    auto func = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    if (!func)
      return;
    SmallVector<exec::CrossEntropyOp> losses;
    func.walk([&](exec::CrossEntropyOp op) { losses.push_back(op); });
    for (exec::CrossEntropyOp op : losses)
      if (auto head = match(op))
        split(*head);
  }

  std::optional<Head> match(exec::CrossEntropyOp entropy);
  void split(Head head);
};
} // namespace

/// Everything that touches the memory of `root`, in order.
static SmallVector<Operation *> touching(Value root) {
  SmallVector<Operation *> result;
  for (Operation *user : root.getUsers()) {
    if (auto view = dyn_cast<exec::ViewOp>(user))
      llvm::append_range(result, touching(view.getResult()));
    else if (isa<exec::AsyncOp>(user->getParentOp()))
      result.push_back(user->getParentOp());
    else if (!llvm::is_contained(result, user))
      result.push_back(user);
  }
  llvm::sort(result, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

/// Whether `op` may be done elsewhere: no statement between `first` and `last`
/// writes what it reads, or touches what it writes.
static bool canMove(exec::GemmOp op, Operation *first, Operation *last) {
  auto roots = [](Operation *statement, bool writes) {
    SmallVector<Value> result;
    SmallVector<MemoryEffects::EffectInstance> effects;
    if (auto memory = dyn_cast<MemoryEffectOpInterface>(statement))
      memory.getEffects(effects);
    for (const auto &effect : effects)
      if (effect.getValue() && isa<MemoryEffects::Write>(effect.getEffect()) == writes)
        result.push_back(exec::rootOf(effect.getValue()));
    return result;
  };
  SmallVector<Value> reads = roots(op, false), writes = roots(op, true);
  // A gradient has a place per mention: the parameter tells.
  auto same = [](Value a, Value b) {
    auto grad = a.getDefiningOp<exec::GradOp>(), other = b.getDefiningOp<exec::GradOp>();
    return a == b || (grad && other && grad.getParameterAttr() == other.getParameterAttr());
  };
  auto meet = [&](ArrayRef<Value> lhs, ArrayRef<Value> rhs) {
    return llvm::any_of(
        lhs, [&](Value a) { return llvm::any_of(rhs, [&](Value b) { return same(a, b); }); });
  };
  for (Operation *between = first->getNextNode(); between != last;
       between = between->getNextNode()) {
    // What runs beside the statements is left where it is.
    if (isa<exec::AsyncOp, exec::WaitOp>(between))
      return false;
    SmallVector<Value> written = roots(between, true);
    if (meet(written, reads) || meet(written, writes) || meet(roots(between, false), writes))
      return false;
  }
  return true;
}

static MemRefType placeOf(Value place) { return cast<MemRefType>(place.getType()); }

std::optional<Head> ChunkLogits::match(exec::CrossEntropyOp entropy) {
  Value logits = entropy.getLogits();
  Head head{exec::rootOf(logits).getDefiningOp<exec::BufferOp>(), {}, entropy, {}};
  int64_t rows = placeOf(logits).getShape()[0], vocab = placeOf(logits).getShape()[1];
  int64_t bytes =
      placeOf(logits).getNumElements() * exec::elementBytes(placeOf(logits).getElementType());
  if (!head.buffer || bytes <= limit || !entropy.getDLogits() ||
      exec::rootOf(entropy.getDLogits()) != head.buffer.getResult() ||
      placeOf(head.buffer.getResult()).getNumElements() != rows * vocab)
    return std::nullopt;
  for (Operation *op : touching(head.buffer.getResult())) {
    if (op == entropy)
      continue;
    auto gemm = dyn_cast<exec::GemmOp>(op);
    if (!gemm || gemm.hasEpilogue() || placeOf(gemm.getResult()).getRank() != 2)
      return std::nullopt;
    if (exec::rootOf(gemm.getResult()) == head.buffer.getResult()) {
      if (head.product || !gemm->isBeforeInBlock(entropy) ||
          gemm.getMode() != exec::Mode::overwrite ||
          placeOf(gemm.getResult()).getShape()[0] != rows)
        return std::nullopt;
      head.product = gemm;
      continue;
    }
    // As [N, V] on the left of d_hidden, as [V, N] on the left of d_weight or as
    // [N, V] on its right.
    if (gemm.getBias() || !entropy->isBeforeInBlock(gemm) || !canMove(gemm, entropy, gemm))
      return std::nullopt;
    head.readers.push_back(gemm);
  }
  if (!head.product || !canMove(head.product, head.product, entropy))
    return std::nullopt;
  return head;
}

/// Erases a place that nothing uses, with the views of it.
static void eraseDead(Operation *place) {
  for (Operation *view : llvm::make_early_inc_range(place->getUsers()))
    eraseDead(view);
  if (place->use_empty())
    place->erase();
}

/// Moves the ops that name this place before `op`.
static void hoist(Value place, Operation *op) {
  Operation *def = place.getDefiningOp();
  if (!def || def->isBeforeInBlock(op))
    return;
  for (Value operand : def->getOperands())
    hoist(operand, op);
  def->moveBefore(op);
}

/// Rows [first, first + count) of a place along `dim`.
static Value window(OpBuilder &b, Location loc, Value place, int64_t dim, int64_t first,
                    int64_t count) {
  MemRefType type = placeOf(place);
  SmallVector<int64_t> shape(type.getShape()), strides = exec::stridesOf(type);
  shape[dim] = count;
  auto part = exec::placeType(shape, strides, type.getElementType());
  int64_t offset = first * strides[dim];
  if (part == type && offset == 0)
    return place;
  return b.create<exec::ViewOp>(loc, part, place, offset);
}

void ChunkLogits::split(Head head) {
  exec::CrossEntropyOp entropy = head.entropy;
  exec::GemmOp product = head.product;
  MemRefType type = placeOf(entropy.getLogits());
  int64_t rows = type.getShape()[0], vocab = type.getShape()[1];
  int64_t rowBytes = vocab * exec::elementBytes(type.getElementType());
  int64_t chunks = llvm::divideCeil(rows * rowBytes, std::max<int64_t>(limit, rowBytes));
  // Whole tiles of the matrix kernels.
  int64_t size = std::min<int64_t>(rows, llvm::alignTo(llvm::divideCeil(rows, chunks), 64));
  OpBuilder b(entropy);
  Value chunk = b.create<exec::BufferOp>(product.getLoc(),
                                         MemRefType::get({size, vocab}, type.getElementType()));
  for (exec::GemmOp reader : head.readers)
    for (Value operand : reader->getOperands())
      hoist(operand, entropy);
  auto seenIn = [&](Value place) { // the chunk as `place` sees the logits
    return exec::rootOf(place) == head.buffer.getResult();
  };
  for (int64_t first = 0; first < rows; first += size) {
    int64_t count = std::min(size, rows - first);
    Location loc = product.getLoc();
    Value part = window(b, loc, chunk, 0, 0, count);
    b.create<exec::GemmOp>(loc, window(b, loc, product.getLhs(), 0, first, count), product.getRhs(),
                           product.getBias(), part, exec::Mode::overwrite);
    loc = entropy.getLoc();
    Value labels = window(b, loc, entropy.getLabels(), 0, first, count);
    Value losses = window(b, loc, entropy.getLosses(), 0, first, count);
    Value lse = window(b, loc, entropy.getLse(), 0, first, count);
    b.create<exec::CrossEntropyOp>(loc, part, labels, entropy.getCotangent(), losses, lse, part,
                                   entropy.getIgnoreIndex());
    for (exec::GemmOp reader : head.readers) {
      loc = reader.getLoc();
      // The sides of [M, K] x [K, N] -> [M, N] that run over the logits' rows.
      bool left = seenIn(reader.getLhs());
      Value whole = left ? reader.getLhs() : reader.getRhs();
      bool overRows = placeOf(whole).getShape()[left ? 0 : 1] == rows &&
                      exec::stridesOf(placeOf(whole))[left ? 0 : 1] == vocab;
      SmallVector<int64_t> shape{count, vocab}, strides{vocab, 1};
      if (left != overRows) { // transposed
        std::swap(shape[0], shape[1]);
        std::swap(strides[0], strides[1]);
      }
      auto seen = exec::placeType(shape, strides, type.getElementType());
      Value logits =
          seen == placeOf(part) ? part : b.create<exec::ViewOp>(loc, seen, part, 0).getResult();
      Value other = left ? reader.getRhs() : reader.getLhs(), result = reader.getResult();
      exec::Mode mode = reader.getMode();
      if (overRows) {
        result = window(b, loc, result, left ? 0 : 1, first, count);
      } else { // summed over the rows
        other = window(b, loc, other, left ? 0 : 1, first, count);
        if (first > 0)
          mode = exec::Mode::add;
      }
      b.create<exec::GemmOp>(loc, left ? logits : other, left ? other : logits, Value(), result,
                             mode);
    }
  }
  for (exec::GemmOp reader : head.readers)
    reader.erase();
  entropy.erase();
  product.erase();
  eraseDead(head.buffer);
}
