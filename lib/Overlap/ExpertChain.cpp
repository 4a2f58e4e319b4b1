//===- ExpertChain.cpp - Rows to experts, what these compute, and back ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertChain.h"
#include "dialects/nn/NNRows.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

/// The only collective of an async, if it moves rows of experts.
static dist::AllToAllRowsOp moveOf(dist::AsyncOp async) {
  auto inner = async.getBody().front().without_terminator();
  return llvm::hasSingleElement(inner) ? dyn_cast<dist::AllToAllRowsOp>(*inner.begin())
                                       : dist::AllToAllRowsOp();
}

/// Whether an elementwise kernel computes row i of its results of the operands' rows i.
static bool isByRow(linalg::GenericOp kernel) {
  return kernel.getNumLoops() > 0 && kernel.getNumParallelLoops() == kernel.getNumLoops() &&
         llvm::all_of(kernel.getIndexingMapsArray(), [](AffineMap map) {
           for (unsigned i = 0; i < map.getNumResults(); ++i)
             if (map.getResult(i).isFunctionOfDim(0) &&
                 (i != 0 || map.getResult(0) != getAffineDimExpr(0, map.getContext())))
               return false;
           return true;
         });
}

/// Whether an op that reads a row of experts gives that row of its result, whatever the others.
static bool keepsRows(Operation *op, const llvm::SetVector<Value> &rows) {
  if (auto product = dyn_cast<nn::GroupedMatmulOp>(op))
    return rows.contains(product.getRows());
  if (auto kernel = dyn_cast<linalg::GenericOp>(op))
    return isByRow(kernel);
  return nn::treatsRowsAlike(op);
}

std::optional<ExpertChain> overlap::findChain(dist::AsyncOp come) {
  ExpertChain chain;
  chain.come = come;
  chain.comeMove = moveOf(come);
  auto wait = dyn_cast_or_null<dist::WaitOp>(come.getWait());
  if (!chain.comeMove || chain.comeMove.getBack() || !wait)
    return {};
  // 1. What depends on the rows, up to where they go back.
  const Value exchange = dist::behindWait(chain.comeMove.getExchange());
  llvm::SetVector<Value> rows;
  rows.insert(wait.getValues().begin(), wait.getValues().end());
  SmallVector<Operation *> reached;
  for (Operation *op = wait->getNextNode(); op && !chain.back; op = op->getNextNode()) {
    if (auto back = dyn_cast<dist::AsyncOp>(op)) {
      dist::AllToAllRowsOp move = moveOf(back);
      if (move && move.getBack() && rows.contains(move.getRows()) &&
          dist::behindWait(move.getExchange()) == exchange) {
        chain.back = back;
        chain.backMove = move;
      }
      continue;
    }
    if (llvm::none_of(op->getOperands(), [&](Value v) { return rows.contains(v); }) ||
        !keepsRows(op, rows))
      continue;
    reached.push_back(op);
    rows.insert(op->result_begin(), op->result_end());
  }
  if (!chain.back)
    return {};
  // 2. Of these, what the rows that go back depend on.
  llvm::SetVector<Operation *> needed;
  needed.insert(chain.backMove.getRows().getDefiningOp());
  for (Operation *op : llvm::reverse(reached)) {
    if (!needed.contains(op))
      continue;
    chain.ops.push_back(op);
    for (Value operand : op->getOperands())
      if (rows.contains(operand))
        if (Operation *def = operand.getDefiningOp(); def && def != wait)
          needed.insert(def);
    if (auto product = dyn_cast<nn::GroupedMatmulOp>(op))
      chain.experts = product.getRouting().getType().getExperts();
  }
  std::reverse(chain.ops.begin(), chain.ops.end());
  if (chain.experts == 0)
    return {};
  return chain;
}
