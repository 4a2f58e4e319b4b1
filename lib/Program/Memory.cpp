//===- Memory.cpp - What of memory statements touch ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Memory.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

Memory program::memoryOf(Value place) {
  Value root = exec::rootOf(place);
  if (auto grad = root.getDefiningOp<exec::GradOp>())
    return {grad.getParameterAttr().getAsOpaquePointer(), 1};
  if (auto param = root.getDefiningOp<exec::ParamOp>())
    return {param.getParameterAttr().getAsOpaquePointer(), 0};
  if (auto kept = root.getDefiningOp<exec::KeptOp>()) // with its number and task
    return {kept.getRoleAttr().getAsOpaquePointer(),
            2 + 2 * int64_t(kept.getNumber()) + kept->hasAttr("pipe.second")};
  return {root.getAsOpaquePointer(), 0};
}

Touched::Touched(Operation &op) {
  auto memory = dyn_cast<MemoryEffectOpInterface>(op);
  if (!memory)
    return;
  SmallVector<MemoryEffects::EffectInstance> effects;
  memory.getEffects(effects);
  for (const auto &effect : effects)
    if (effect.getValue())
      (isa<MemoryEffects::Write>(effect.getEffect()) ? writes : reads)
          .insert(memoryOf(effect.getValue()));
}

Touched program::touchedBy(Operation &op) {
  Touched touched(op);
  if (auto async = dyn_cast<exec::AsyncOp>(op))
    for (Operation &inner : async.getBody().front()) {
      Touched part(inner);
      touched.reads.insert(part.reads.begin(), part.reads.end());
      touched.writes.insert(part.writes.begin(), part.writes.end());
    }
  return touched;
}

bool program::meet(const llvm::DenseSet<Memory> &a, const llvm::DenseSet<Memory> &b) {
  return llvm::any_of(a, [&](const Memory &memory) { return b.contains(memory); });
}
