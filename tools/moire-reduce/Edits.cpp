//===- Edits.cpp - What can be left out of a module or made simpler ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Edits.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using moire::reduce::Edit;
using moire::reduce::EditsOf;

/// The ops but the module itself and terminators, users and inner ops first.
static std::vector<Operation *> opsOf(ModuleOp module) {
  std::vector<Operation *> ops;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != module && !op->hasTrait<OpTrait::IsTerminator>())
      ops.push_back(op);
  });
  std::reverse(ops.begin(), ops.end());
  return ops;
}

/// Ops whose results nobody uses: functions, parameters, statements, what is dead.
static std::vector<Edit> leaveOutOps(ModuleOp module) {
  std::vector<Edit> edits;
  for (Operation *op : opsOf(module))
    edits.push_back([op] {
      if (!op->use_empty())
        return false;
      op->erase();
      return true;
    });
  return edits;
}

/// Ops whose results become zeros.
static std::vector<Edit> makeZeros(ModuleOp module) {
  std::vector<Edit> edits;
  for (Operation *op : opsOf(module))
    edits.push_back([op] {
      if (op->use_empty() || matchPattern(op, m_Constant()))
        return false;
      OpBuilder builder(op);
      SmallVector<TypedAttr> zeros;
      for (Type type : op->getResultTypes())
        if (TypedAttr zero = builder.getZeroAttr(type))
          zeros.push_back(zero);
        else
          return false;
      for (auto [result, zero] : llvm::zip_equal(op->getResults(), zeros))
        if (!result.use_empty())
          result.replaceAllUsesWith(builder.create<arith::ConstantOp>(op->getLoc(), zero));
      op->erase();
      return true;
    });
  return edits;
}

/// Ops whose results become operands of the same types.
static std::vector<Edit> forwardOperands(ModuleOp module) {
  std::vector<Edit> edits;
  for (Operation *op : opsOf(module))
    edits.push_back([op] {
      if (op->use_empty())
        return false;
      SmallVector<Value> operands;
      for (Type type : op->getResultTypes()) {
        auto same = llvm::find_if(op->getOperands(),
                                  [&](Value operand) { return operand.getType() == type; });
        if (same == op->getOperands().end())
          return false;
        operands.push_back(*same);
      }
      op->replaceAllUsesWith(operands);
      op->erase();
      return true;
    });
  return edits;
}

/// Constants that are there twice in a block.
static std::vector<Edit> shareConstants(ModuleOp module) {
  std::vector<Edit> edits;
  llvm::DenseMap<std::pair<Block *, Attribute>, Value> first;
  module.walk([&](arith::ConstantOp op) {
    Value &value = first[{op->getBlock(), op.getValue()}];
    if (!value)
      value = op;
    else
      edits.push_back([op, value]() mutable {
        op.replaceAllUsesWith(value);
        op.erase();
        return true;
      });
  });
  return edits;
}

/// Results of functions, last ones first, and then arguments that nobody uses.
static std::vector<Edit> narrowFunctions(ModuleOp module) {
  std::vector<Edit> edits;
  module.walk([&](func::FuncOp func) {
    if (func.isExternal())
      return;
    for (unsigned i = func.getNumResults(); i-- > 0;)
      edits.push_back([func, i]() mutable {
        for (Block &block : func.getBody())
          block.getTerminator()->eraseOperand(i);
        func.eraseResult(i);
        return true;
      });
    for (unsigned i = func.getNumArguments(); i-- > 0;)
      edits.push_back([func, i]() mutable {
        if (!func.getArgument(i).use_empty())
          return false;
        func.eraseArgument(i);
        return true;
      });
  });
  return edits;
}

/// Attributes that no op's definition asks for.
static std::vector<Edit> leaveOutAttributes(ModuleOp module) {
  std::vector<Edit> edits;
  module.walk([&](Operation *op) {
    for (NamedAttribute attribute : op->getDiscardableAttrs())
      edits.push_back([op, name = attribute.getName()] { return bool(op->removeAttr(name)); });
    if (auto func = dyn_cast<func::FuncOp>(op)) {
      if (func.getArgAttrsAttr())
        edits.push_back([func]() mutable { return bool(func.removeArgAttrsAttr()); });
      if (func.getResAttrsAttr())
        edits.push_back([func]() mutable { return bool(func.removeResAttrsAttr()); });
    }
  });
  return edits;
}

llvm::ArrayRef<EditsOf *> moire::reduce::allEdits() {
  static EditsOf *const kinds[] = {leaveOutOps,    makeZeros,       forwardOperands,
                                   shareConstants, narrowFunctions, leaveOutAttributes};
  return kinds;
}
