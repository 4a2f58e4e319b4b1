//===- MicroStep.cpp - Forward and backward of a micro-batch -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MicroStep.h"

using namespace mlir;
using namespace moire;
using namespace moire::stages;

MicroStep::MicroStep(func::FuncOp func) : func(func) {
  Block &block = func.getBody().front();
  // 1. What any stage can make. The sum of embeddings is of inputs and parameters: it is not.
  llvm::DenseSet<Value> ofInputs, ofParameters;
  ofInputs.insert(block.args_begin(), block.args_end());
  for (Operation &op : block.without_terminator()) {
    const bool reads = isa<pipe::ReadOp>(op);
    bool inputs = false, parameters = reads, others = false;
    for (Value operand : op.getOperands()) {
      inputs |= ofInputs.contains(operand);
      parameters |= ofParameters.contains(operand);
      others |= !isFree(operand);
    }
    // Ranks meet in a collective; those that gather divided parameters stand where they are read.
    const bool alone = !(inputs && parameters) && !(inputs && dist::isCollective(&op));
    if (others || !alone || !isMemoryEffectFree(&op))
      continue;
    free.insert(&op);
    for (Value result : op.getResults()) {
      if (inputs)
        ofInputs.insert(result);
      if (parameters)
        ofParameters.insert(result);
    }
  }
  // 2. What the loss needs.
  llvm::DenseSet<Operation *> needed;
  for (Operation &op : llvm::reverse(block)) {
    if (!op.hasTrait<OpTrait::IsTerminator>() && !needed.contains(&op))
      continue;
    for (Value operand : op.getOperands())
      if (Operation *def = operand.getDefiningOp())
        needed.insert(def);
  }
  for (Operation &op : block.without_terminator()) {
    if (free.contains(&op))
      continue;
    (needed.contains(&op) ? forward : backward).push_back(&op);
  }
  // 3. What leads to no parameter any more, but straight to the loss, is done as soon as it can be:
  // routers' losses then leave their stage as one number and not as the scores that they are of.
  llvm::DenseSet<Operation *> leads;
  for (Operation *op : llvm::reverse(forward))
    if (llvm::any_of(op->getOperands(), [&](Value v) { return ofParameters.contains(v); }) ||
        llvm::any_of(op->getUsers(), [&](Operation *user) { return leads.contains(user); }))
      leads.insert(op);
  SmallVector<Operation *> way; // of those that lead to one
  llvm::copy_if(forward, std::back_inserter(way), [&](Operation *op) { return leads.contains(op); });
  DenseMap<Operation *, size_t> behind; // how many of `way` come before an op
  for (auto [i, op] : llvm::enumerate(way))
    behind[op] = i + 1;
  std::vector<SmallVector<Operation *>> others(way.size() + 1);
  for (Operation *op : forward) {
    if (leads.contains(op))
      continue;
    size_t last = 0;
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp(); def && behind.count(def))
        last = std::max(last, behind[def]);
    // What inputs alone count is for the loss's own backward, at the end.
    behind[op] = last = last == 0 ? way.size() : last;
    others[last].push_back(op);
  }
  forward = others[0];
  for (auto [i, op] : llvm::enumerate(way)) {
    forward.push_back(op);
    forward.append(others[i + 1]);
  }
  for (auto [i, op] : llvm::enumerate(forward))
    position[op] = i;
}
