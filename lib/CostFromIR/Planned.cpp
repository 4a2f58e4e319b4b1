//===- Planned.cpp - What a planned program moves and keeps --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Parts.h"
#include "dialects/exec/Exec.h"

using namespace mlir;
using namespace moire;
using cost::Activations;
using cost::Part;

namespace {

struct Planned {
  const Parts &parts;
  const ParameterParts &parameters;
  const double elementBytes;
  ImportedCost &result;

  /// The first statement of the backward: the loss's, or the first that makes a gradient.
  static Operation *boundary(func::FuncOp step) {
    Operation *gradient = nullptr;
    for (Operation &op : step.getBody().front()) {
      if (isa<exec::CrossEntropyOp, exec::CrossEntropyGradOp>(op))
        return &op;
      if (!gradient && !isa<exec::GradOp, exec::ViewOp>(op))
        for (Value operand : op.getOperands())
          if (isa<MemRefType>(operand.getType()) &&
              exec::rootOf(operand).getDefiningOp<exec::GradOp>())
            gradient = &op;
    }
    return gradient;
  }

  /// Bytes that a statement touches through `place`, which may repeat what lies in its root.
  static int64_t bytesOf(Value place) {
    auto type = dyn_cast<MemRefType>(place.getType());
    if (!type)
      return 0;
    int64_t elements = type.getNumElements();
    if (auto root = dyn_cast<MemRefType>(exec::rootOf(place).getType()))
      elements = std::min(elements, root.getNumElements());
    return elements * exec::elementBytes(type.getElementType());
  }

  static int64_t rowsOf(Value root) {
    auto shape = cast<MemRefType>(root.getType()).getShape();
    return shape.size() == 2 ? shape[0] : 0;
  }

  /// The part of a statement: that of its parameters, else that of the statement before it.
  int advance(Operation &op, int part) const {
    for (Value operand : op.getOperands()) {
      if (!isa<MemRefType>(operand.getType()))
        continue;
      Operation *root = exec::rootOf(operand).getDefiningOp();
      llvm::StringRef name;
      if (auto param = dyn_cast_or_null<exec::ParamOp>(root))
        name = param.getParameter();
      else if (auto shadow = dyn_cast_or_null<exec::ShadowOp>(root))
        name = shadow.getParameter();
      auto in = parameters.find(name);
      if (name.empty() || in == parameters.end())
        continue;
      for (int reader : in->second)
        if (reader >= part)
          return reader;
    }
    return part;
  }

  /// Where per-token elements of this many belong, and whether tokens at experts.
  enum Where { Residual, Split, Routed };
  Where whereOf(int64_t elements, bool routed) const {
    if (routed)
      return Routed;
    return elements <= parts.tokens * parts.width ? Residual : Split;
  }

  void statement(Operation &op, Part &part, bool routed) const {
    auto memory = dyn_cast<MemoryEffectOpInterface>(op);
    if (!memory || isa<exec::ViewOp, exec::RoutingOp, exec::BufferOp>(op))
      return;
    ++part.kernels;
    if (isa<exec::GemmOp, exec::GroupedGemmOp, exec::AttentionOp>(op))
      return; // bound by arithmetic: products and attention have their own cost
    SmallVector<MemoryEffects::EffectInstance> effects;
    memory.getEffects(effects);
    int64_t bytes = 0, largest = 0;
    for (const auto &effect : effects) {
      if (!effect.getValue())
        continue;
      int64_t touched = bytesOf(effect.getValue());
      // Of a table, only the rows that are looked up.
      if (isa<exec::GatherOp>(op) && effect.getValue() == op.getOperand(0))
        touched = bytesOf(op.getOperands().back());
      bytes += touched;
      largest = std::max(largest, touched);
    }
    const double elements =
        static_cast<double>(bytes) / elementBytes / static_cast<double>(parts.tokens);
    double *const fields[] = {&part.residualTraffic, &part.splitTraffic, &part.routedTraffic};
    *fields[whereOf(static_cast<int64_t>(static_cast<double>(largest) / elementBytes), routed)] +=
        elements;
  }

  void run(func::FuncOp step) {
    Operation *end = boundary(step);
    struct Life {
      int part = 0;
      bool routed = false, before = false, after = false;
    };
    llvm::MapVector<Value, Life> lives;
    auto isRows = [&](Value root) { // of tokens at experts
      auto life = lives.find(root);
      return life != lives.end() && life->second.routed;
    };
    int part = 0;
    bool backward = false;
    for (Operation &op : step.getBody().front()) {
      const bool loss = &op == end;
      if (!backward)
        part = advance(op, part);
      // Between dispatch and combine, and what works on their rows without the routing.
      const bool routing =
          llvm::any_of(op.getOperands(), [](Value v) { return isa<nn::RoutingType>(v.getType()); });
      const bool routed = routing || llvm::any_of(op.getOperands(), [&](Value v) {
                            return isa<MemRefType>(v.getType()) && isRows(exec::rootOf(v));
                          });
      if (!isa<exec::ViewOp, exec::RoutingOp, exec::BufferOp>(op))
        for (Value operand : op.getOperands()) {
          Value root =
              isa<MemRefType, nn::RoutingType>(operand.getType()) ? exec::rootOf(operand) : Value();
          if (!root || !root.getDefiningOp<exec::BufferOp>())
            continue;
          Life &life = lives[root];
          if (!backward && !life.before) {
            life.part = part;
            life.before = true;
          }
          life.routed |= routed && rowsOf(root) > parts.tokens;
          life.after |= backward;
        }
      if (!backward)
        statement(op, result.model.parts[part], routed);
      backward |= loss;
    }
    for (const auto &[value, life] : lives)
      if (life.before && life.after)
        keep(value, life.part, life.routed);
  }

  void keep(Value value, int part, bool routed) {
    auto buffer = value.getDefiningOp<exec::BufferOp>();
    const int64_t bytes = buffer.getBytes();
    result.keptBytes += bytes;
    const double elements =
        static_cast<double>(bytes) / elementBytes / static_cast<double>(parts.tokens);
    Part &holder = result.model.parts[part];
    // The compiler already computes again what is cheap.
    for (cost::Recompute recompute : {cost::Recompute::None, cost::Recompute::Selective}) {
      Activations &kept = holder.kept[static_cast<int>(recompute)];
      double *const fields[] = {&kept.residual, &kept.split, &kept.routed};
      *fields[whereOf(static_cast<int64_t>(static_cast<double>(bytes) / elementBytes), routed)] +=
          elements;
    }
  }
};

} // namespace

void moire::costProgram(ModuleOp module, const Parts &parts, const ParameterParts &parameters,
                        double elementBytes, ImportedCost &result) {
  if (auto arena = module->getAttrOfType<IntegerAttr>("exec.arena_bytes"))
    result.arenaBytes = arena.getInt();
  if (auto step = module.lookupSymbol<func::FuncOp>("micro_step"))
    Planned{parts, parameters, elementBytes, result}.run(step);
  for (size_t p = 0; p < result.model.parts.size(); ++p) {
    Activations &full = result.model.parts[p].kept[static_cast<int>(cost::Recompute::Full)];
    if (p > 0 && p + 1 < result.model.parts.size())
      full.residual = static_cast<double>(parts.width);
    else
      full = result.model.parts[p].kept[static_cast<int>(cost::Recompute::None)];
  }
}
