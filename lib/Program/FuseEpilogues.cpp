//===- FuseEpilogues.cpp - Pass fuse-epilogues ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A product whose whole result is next read by a GELU or by an addition does that
// itself. What is written moves up to the product, so nothing in between may
// touch that memory; what is read moves up too, so nothing in between may write it.
//
//===----------------------------------------------------------------------===//
#include "KernelMeaning.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

static MemRefType typeOf(Value place) { return cast<MemRefType>(place.getType()); }

/// The memory, of the arena or of a stage's slot, that `place` covers from its first to its last
/// element in order; null where it covers less.
static Value wholeMemory(Value place) {
  Value root = exec::rootOf(place);
  if (!isa_and_nonnull<exec::BufferOp, exec::KeptOp>(root.getDefiningOp()) ||
      !exec::isDense(place.getType()) ||
      typeOf(place).getNumElements() != typeOf(root).getNumElements())
    return {};
  return root;
}

static Type elementTypeOf(Value place) { return typeOf(place).getElementType(); }

namespace {
struct Touch {
  Operation *op;
  bool writes;
};

struct FuseEpilogues : program::impl::FuseEpiloguesBase<FuseEpilogues> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func.getBody().hasOneBlock())
        fuseIn(func, symbols);
  }

private:
  DenseMap<Value, SmallVector<Touch>> touches; ///< by root, in order

  void fuseIn(func::FuncOp func, SymbolTable &symbols) {
    touches.clear();
    collectTouches(func);
    SmallVector<exec::GemmOp> products(func.getBody().getOps<exec::GemmOp>());
    for (exec::GemmOp product : products)
      fuse(product, symbols);
    SmallVector<exec::GroupedGemmOp> grouped(func.getBody().getOps<exec::GroupedGemmOp>());
    for (exec::GroupedGemmOp product : grouped)
      fuseSwiglu(product, symbols);
    // Views of what was fused away.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(func.getBody().front())))
      if (isPure(&op) && op.use_empty() && op.getNumResults() > 0)
        op.erase();
  }

  /// What `op` touches, as touched by `at`.
  void addTouches(Operation &op, Operation *at) {
    auto memory = dyn_cast<MemoryEffectOpInterface>(op);
    SmallVector<MemoryEffects::EffectInstance> effects;
    if (memory)
      memory.getEffects(effects);
    for (const auto &effect : effects)
      if (effect.getValue())
        touches[exec::rootOf(effect.getValue())].push_back(
            {at, isa<MemoryEffects::Write>(effect.getEffect())});
  }
  /// What runs beside other statements touches its memory from its start to its wait: at both.
  void collectTouches(func::FuncOp func) {
    DenseMap<int64_t, exec::AsyncOp> asyncs; // by number
    for (Operation &op : func.getBody().getOps()) {
      exec::AsyncOp async = dyn_cast<exec::AsyncOp>(op);
      if (async)
        asyncs[async.getNumber()] = async;
      else if (auto wait = dyn_cast<exec::WaitOp>(op))
        async = asyncs.lookup(wait.getNumber());
      if (!async)
        addTouches(op, &op);
      else
        for (Operation &inner : async.getBody().front())
          addTouches(inner, &op);
    }
  }

  /// Whether an op strictly between the two touches the memory (or writes it).
  bool touchedBetween(Value root, Operation *first, Operation *last, bool writesOnly) {
    return llvm::any_of(touches.lookup(root), [&](const Touch &touch) {
      return first->isBeforeInBlock(touch.op) && touch.op->isBeforeInBlock(last) &&
             (touch.writes || !writesOnly);
    });
  }
  Operation *firstAfter(Value root, Operation *op) {
    for (const Touch &touch : touches.lookup(root))
      if (op->isBeforeInBlock(touch.op))
        return touch.op;
    return nullptr;
  }
  /// Whether a product reads the memory of `place`: it cannot write there while it does.
  static bool reads(Operation *product, Value place) {
    SmallVector<MemoryEffects::EffectInstance> effects;
    cast<MemoryEffectOpInterface>(product).getEffects(effects);
    return llvm::any_of(effects, [&](const MemoryEffects::EffectInstance &effect) {
      return isa<MemoryEffects::Read>(effect.getEffect()) && effect.getValue() &&
             exec::rootOf(effect.getValue()) == exec::rootOf(place);
    });
  }
  /// Whether anything after `op`, or a second operand of it, touches the memory. What lies in a
  /// slot is kept for other functions.
  bool usedBesides(Value root, Operation *op) {
    if (root.getDefiningOp<exec::KeptOp>())
      return true;
    int64_t times = 0;
    for (const Touch &touch : touches.lookup(root)) {
      if (op->isBeforeInBlock(touch.op))
        return true;
      times += touch.op == op;
    }
    return times > 1;
  }

  /// Whether `place` is columns [first, first + count) of memory with 2 * count.
  static bool isHalf(Value place, Value memory, int64_t first) {
    auto view = place.getDefiningOp<exec::ViewOp>();
    auto shape = typeOf(place).getShape();
    return view && view.getSource() == memory && (int64_t)view.getOffset() == first &&
           shape.size() == 2 && typeOf(memory).getNumElements() == 2 * shape[0] * shape[1] &&
           exec::stridesOf(typeOf(place)) == SmallVector<int64_t>{2 * shape[1], 1};
  }

  void fuseSwiglu(exec::GroupedGemmOp product, SymbolTable &symbols) {
    Value halves = wholeMemory(product.getResult());
    auto launch =
        halves ? dyn_cast_or_null<exec::LaunchOp>(firstAfter(halves, product)) : exec::LaunchOp();
    if (!launch || product.getGated() || product.getBias() || launch.getInputs().size() != 2 ||
        launch.getOutputs().size() != 1 || !launch.getIndex().empty() ||
        !isSwiglu(symbols.lookup<exec::KernelOp>(launch.getKernel())))
      return;
    auto shape = typeOf(product.getResult()).getShape();
    Value target = wholeMemory(launch.getOutputs()[0]);
    if (!target || target == halves || reads(product, target) ||
        !isHalf(launch.getInputs()[0], halves, 0) ||
        !isHalf(launch.getInputs()[1], halves, shape[1] / 2) ||
        elementTypeOf(target) != elementTypeOf(halves) ||
        touchedBetween(target, product, launch, /*writesOnly=*/false))
      return;
    Value gated = matrixBefore(product, launch.getOutputs()[0], {shape[0], shape[1] / 2});
    product.getGatedMutable().assign(gated);
    product->setLoc(FusedLoc::get(&getContext(), {product.getLoc(), launch.getLoc()}));
    note(gated, product, /*writes=*/true);
    forget(launch);
    ++epilogues;
  }

  /// `place` as a matrix of this shape, named before `op`.
  Value matrixBefore(Operation *op, Value place, ArrayRef<int64_t> shape) {
    Value memory = wholeMemory(place);
    if (!memory.getDefiningOp()->isBeforeInBlock(op))
      memory.getDefiningOp()->moveBefore(op);
    auto type = MemRefType::get(shape, elementTypeOf(memory));
    if (type == memory.getType())
      return memory;
    OpBuilder b(op);
    return b.create<exec::ViewOp>(op->getLoc(), type, memory, 0);
  }

  /// `product` with another result and, perhaps, something more to read or keep.
  void replace(exec::GemmOp product, Operation *fused, Value result, Value residual, Value aux,
               bool gelu) {
    OpBuilder b(product);
    auto loc = b.getFusedLoc({product.getLoc(), fused->getLoc()});
    auto more = b.create<exec::GemmOp>(loc, product.getLhs(), product.getRhs(), product.getBias(),
                                       residual, aux, result, gelu, exec::Mode::overwrite);
    for (auto &entry : touches)
      for (Touch &touch : entry.second)
        if (touch.op == product)
          touch.op = more;
    for (auto [place, writes] : {std::pair(result, true), {residual, false}, {aux, true}})
      if (place)
        note(place, more, writes);
    product.erase();
    ++epilogues;
  }
  void note(Value place, Operation *op, bool writes) {
    auto &list = touches[exec::rootOf(place)];
    auto at = llvm::find_if(list, [&](const Touch &t) { return op->isBeforeInBlock(t.op); });
    list.insert(at, {op, writes});
  }
  void forget(Operation *op) {
    for (auto &entry : touches)
      llvm::erase_if(entry.second, [&](const Touch &touch) { return touch.op == op; });
    op->erase();
  }

  void fuse(exec::GemmOp product, SymbolTable &symbols) {
    Value sums = wholeMemory(product.getResult());
    if (!sums || product.hasEpilogue() || product.getMode() != exec::Mode::overwrite ||
        typeOf(product.getResult()).getRank() != 2)
      return;
    Operation *reader = firstAfter(sums, product);
    if (auto launch = dyn_cast_or_null<exec::LaunchOp>(reader)) {
      auto kernel = symbols.lookup<exec::KernelOp>(launch.getKernel());
      if (launch.getOutputs().size() != 1 || !launch.getIndex().empty())
        return;
      if (launch.getInputs().size() == 1 && isTanhGelu(kernel))
        fuseGelu(product, sums, launch);
      else if (launch.getInputs().size() == 2 && isAddition(kernel))
        fuseSum(product, sums, launch, launch.getInputs()[0], launch.getInputs()[1],
                launch.getOutputs()[0]);
      return;
    }
    if (auto norm = dyn_cast_or_null<exec::LayerNormOp>(reader))
      fuseNorm(product, sums, norm);
    else if (auto norm = dyn_cast_or_null<exec::RMSNormOp>(reader))
      fuseNorm(product, sums, norm);
  }

  void fuseGelu(exec::GemmOp product, Value sums, exec::LaunchOp launch) {
    Value target = wholeMemory(launch.getOutputs()[0]);
    if (!target || reads(product, target) || !wholeMemory(launch.getInputs()[0]) ||
        elementTypeOf(target) != elementTypeOf(sums) ||
        (target != sums && touchedBetween(target, product, launch, false)))
      return;
    auto shape = typeOf(product.getResult()).getShape();
    bool keeps = target != sums && usedBesides(sums, launch);
    Value result = matrixBefore(product, launch.getOutputs()[0], shape);
    replace(product, launch, result, Value(), keeps ? product.getResult() : Value(), true);
    forget(launch);
  }

  /// The sum of the product, at one of two places, and the residual at the other one
  /// is written to `sum` by `reader`. Returns whether the product now does it.
  bool fuseSum(exec::GemmOp product, Value sums, Operation *reader, Value lhs, Value rhs, Value sum,
               bool erase = true) {
    Value other = exec::rootOf(lhs) == sums ? rhs : lhs;
    Value residual = wholeMemory(other), target = wholeMemory(sum);
    if (!residual || !target || residual == sums || reads(product, target) ||
        !wholeMemory(other == lhs ? rhs : lhs) || !elementTypeOf(residual).isF32() ||
        !elementTypeOf(target).isF32() ||
        typeOf(residual).getNumElements() != typeOf(sums).getNumElements() ||
        (target != sums && usedBesides(sums, reader)) ||
        touchedBetween(residual, product, reader, /*writesOnly=*/target != residual) ||
        (target != sums && touchedBetween(target, product, reader, false)))
      return false;
    auto shape = typeOf(product.getResult()).getShape();
    Value added = matrixBefore(product, other, shape), result = matrixBefore(product, sum, shape);
    replace(product, reader, result, added, Value(), false);
    if (erase)
      forget(reader);
    return true;
  }

  /// The normalization then reads the sum instead of making it.
  template <typename Norm> void fuseNorm(exec::GemmOp product, Value sums, Norm norm) {
    if (!norm.getResidual())
      return;
    Value sum = norm.getSum();
    if (!fuseSum(product, sums, norm, norm.getInput(), norm.getResidual(), sum, /*erase=*/false))
      return;
    OpBuilder b(norm);
    Operation *plain;
    if constexpr (std::is_same_v<Norm, exec::LayerNormOp>)
      plain =
          b.create<exec::LayerNormOp>(norm.getLoc(), sum, norm.getScale(), norm.getBias(), Value(),
                                      norm.getResult(), Value(), norm.getEpsilonAttr());
    else
      plain = b.create<exec::RMSNormOp>(norm.getLoc(), sum, norm.getScale(), Value(),
                                        norm.getResult(), Value(), norm.getEpsilonAttr());
    Value result = norm.getResult();
    forget(norm);
    note(sum, plain, false);
    note(result, plain, true);
  }
};
} // namespace
