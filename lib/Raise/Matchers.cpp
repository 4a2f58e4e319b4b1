//===- Matchers.cpp - What the raising passes share ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Matchers.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

std::optional<double> moire::raise::splatOf(Value v) {
  DenseElementsAttr dense;
  if (!matchPattern(v, m_Constant(&dense)) || !dense.isSplat())
    return std::nullopt;
  Attribute value = dense.getSplatValue<Attribute>();
  if (auto f = dyn_cast<FloatAttr>(value))
    return f.getValueAsDouble();
  if (auto i = dyn_cast<IntegerAttr>(value))
    return (double)i.getValue().getSExtValue();
  return std::nullopt;
}

bool moire::raise::dependsOnTrained(Value v) {
  llvm::DenseSet<Value> seen;
  SmallVector<Value> todo = {v};
  while (!todo.empty()) {
    Value next = todo.pop_back_val();
    if (!seen.insert(next).second)
      continue;
    Operation *def = next.getDefiningOp();
    if (!def)
      continue;
    if (auto read = dyn_cast<pipe::ReadOp>(def)) {
      auto parameter = SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(
          read, read.getParameterAttr());
      if (!parameter || !parameter.getFrozen())
        return true;
    }
    // Integers and bools carry no derivative.
    for (Value operand : def->getOperands())
      if (auto t = dyn_cast<RankedTensorType>(operand.getType());
          t && isa<FloatType>(t.getElementType()))
        todo.push_back(operand);
  }
  return false;
}

std::optional<View> moire::raise::reducedView(const View &result, nn::ReduceOp reduce) {
  auto in = cast<RankedTensorType>(reduce.getInput().getType());
  if (reduce.getDims() != ArrayRef<int64_t>{in.getRank() - 1})
    return std::nullopt;
  int64_t n = in.getShape().back();
  View v{reduce.getInput(), result.layout};
  v.layout.offset *= n;
  for (Mode &m : v.layout.dims)
    for (Factor &f : m)
      f.stride *= n;
  v.layout.dims.push_back({{n, 1}});
  v.layout = v.layout.coalesced();
  return v;
}

void moire::raise::eraseDead(func::FuncOp func) {
  for (Operation *op : reversedOps(func))
    if (isOpTriviallyDead(op))
      op->erase();
}

SmallVector<Operation *> moire::raise::reversedOps(func::FuncOp func) {
  SmallVector<Operation *> ops;
  if (!func.isExternal())
    for (Operation &op : llvm::reverse(func.getBody().front()))
      ops.push_back(&op);
  return ops;
}
