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
    if (needed.contains(&op)) {
      position[&op] = forward.size();
      forward.push_back(&op);
    } else {
      backward.push_back(&op);
    }
  }
}
