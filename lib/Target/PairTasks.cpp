//===- PairTasks.cpp - Which task of a pair a statement is of ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Two tasks share no memory but constants. So statements that touch the same memory, directly
// or through others, are of one task, and what lies in a slot, a parameter, a gradient or an
// input says which. Statements of constants and temporaries alone count to the first task.
//
//===----------------------------------------------------------------------===//
#include "PairTasks.h"
#include "dialects/exec/Exec.h"
#include "moire/Pipe/PipelineProgram.h"
#include "llvm/ADT/EquivalenceClasses.h"

using namespace mlir;
using namespace moire;

llvm::DenseSet<Operation *> target::statementsOfSecond(func::FuncOp pair, size_t inputs) {
  llvm::EquivalenceClasses<void *> together; // statements and roots
  llvm::DenseSet<void *> seeds;
  pair.walk([&](Operation *op) {
    if (op == pair)
      return;
    for (Value operand : op->getOperands()) {
      const Value root = exec::rootOf(operand);
      if (root.getDefiningOp<exec::ConstantOp>())
        continue;
      together.unionSets(op, root.getAsOpaquePointer());
      const auto argument = dyn_cast<BlockArgument>(root);
      if (argument ? argument.getArgNumber() >= inputs
                   : root.getDefiningOp()->hasAttr(pipe::kSecondAttr))
        seeds.insert(root.getAsOpaquePointer());
    }
  });
  llvm::DenseSet<void *> leaders;
  for (void *seed : seeds)
    leaders.insert(together.getLeaderValue(seed));
  llvm::DenseSet<Operation *> result;
  pair.walk([&](Operation *op) {
    auto it = together.findLeader(op);
    if (it != together.member_end() && leaders.contains(*it))
      result.insert(op);
  });
  return result;
}
