//===- LowerElementwise.cpp - Clusters become kernels and launches -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

/// Joins neighbouring dims that every window steps through evenly and drops
/// dims of size 1, so that the inner loop is long. Dims in `index` stay.
static void joinDims(SmallVectorImpl<Layout> &windows, SmallVectorImpl<int64_t> &index) {
  if (windows.empty())
    return;
  auto isIndex = [&](int64_t dim) { return llvm::is_contained(index, dim); };
  auto erase = [&](int64_t dim) {
    for (Layout &w : windows) {
      w.shape.erase(w.shape.begin() + dim);
      w.strides.erase(w.strides.begin() + dim);
    }
    for (int64_t &i : index)
      if (i > dim)
        --i;
  };
  for (int64_t d = windows[0].shape.size() - 1; d >= 0; --d) {
    if (isIndex(d))
      continue;
    if (windows[0].shape[d] == 1) {
      erase(d);
      continue;
    }
    if (d + 1 >= (int64_t)windows[0].shape.size() || isIndex(d + 1))
      continue;
    bool even = llvm::all_of(windows, [&](const Layout &w) {
      return w.strides[d] == w.strides[d + 1] * w.shape[d + 1];
    });
    if (!even)
      continue;
    for (Layout &w : windows) {
      w.shape[d] *= w.shape[d + 1];
      w.strides[d] = w.strides[d + 1];
    }
    erase(d + 1);
  }
}

LogicalResult Lowering::launch(FlatSymbolRefAttr kernel,
                               ArrayRef<std::pair<Value, Layout>> inputs,
                               ArrayRef<std::pair<Value, Layout>> outputs,
                               ArrayRef<int64_t> index) {
  SmallVector<Layout> windows;
  for (auto &[tensor, window] : inputs)
    windows.push_back(window);
  for (auto &[tensor, window] : outputs)
    windows.push_back(window);
  SmallVector<int64_t> dims(index);
  joinDims(windows, dims);
  if (windows[0].shape.size() > 6)
    return emitError(loc) << "needs an iteration space of rank " << windows[0].shape.size()
                          << " but kernels have at most 6";
  SmallVector<Value> ins, outs;
  for (auto [i, input] : llvm::enumerate(inputs))
    ins.push_back(place(input.first, windows[i]));
  for (auto [i, output] : llvm::enumerate(outputs))
    outs.push_back(place(output.first, windows[inputs.size() + i]));
  // One row is no dim any more.
  Value rows = counted.routingOf(outputs[0].first);
  if (rows && cast<nn::RoutingType>(rows.getType()).getRows() > 1)
    rows = routing(rows);
  else
    rows = Value();
  builder.create<exec::LaunchOp>(loc, kernel, ins, rows, outs, builder.getDenseI64ArrayAttr(dims));
  return success();
}

LogicalResult Lowering::lowerElementwise(Operation *op) {
  SmallVector<Type> types;
  SmallVector<std::pair<Value, Layout>> inputs;
  for (Value operand : op->getOperands()) {
    if (splatValue(operand))
      continue;
    types.push_back(elementOf(operand));
    inputs.push_back({operand, layout(operand)});
  }
  auto kernel = kernels.get(loc, types, [&](OpBuilder &b, ValueRange arguments) {
    SmallVector<Value> scalars;
    size_t next = 0;
    for (Value operand : op->getOperands()) {
      if (TypedAttr splat = splatValue(operand))
        scalars.push_back(b.create<arith::ConstantOp>(loc, splat));
      else
        scalars.push_back(arguments[next++]);
    }
    return SmallVector<Value>{buildScalar(b, op, scalars)};
  });
  Value result = op->getResult(0);
  return launch(kernel, inputs, {{result, layout(result)}}, {});
}

LogicalResult Lowering::lowerIota(nn::IotaOp op) {
  Type element = elementOf(op.getResult());
  auto kernel = kernels.get(loc, builder.getI64Type(), [&](OpBuilder &b, ValueRange arguments) {
    Value value = arguments[0];
    if (isa<FloatType>(element))
      value = b.create<arith::SIToFPOp>(loc, element, value);
    else if (element.getIntOrFloatBitWidth() < 64)
      value = b.create<arith::TruncIOp>(loc, element, value);
    return SmallVector<Value>{value};
  });
  return launch(kernel, {}, {{op.getResult(), layout(op.getResult())}}, {(int64_t)op.getDim()});
}

LogicalResult Lowering::lowerGeneric(linalg::GenericOp op) {
  Block &source = op.getRegion().front();
  auto maps = op.getIndexingMapsArray();
  auto space = op.getStaticLoopRanges();
  int64_t numInputs = op.getNumDpsInputs();
  for (auto iterator : op.getIteratorTypesArray())
    if (iterator != utils::IteratorType::parallel)
      return op.emitError("must have parallel iterators only to become a kernel");
  // 1. Windows over the iteration space. Coordinates are inputs too.
  SmallVector<std::pair<Value, Layout>> inputs, outputs;
  SmallVector<Type> types;
  auto windowOf = [&](Value tensor, AffineMap map) {
    return iterationLayout(map, space, layout(tensor));
  };
  for (int64_t i = 0; i < numInputs; ++i) {
    Value input = op.getInputs()[i];
    auto window = windowOf(input, maps[i]);
    if (!window)
      return op.emitError("indexing map ") << AffineMapAttr::get(maps[i])
                                         << " must be made of dims and zeros";
    inputs.push_back({input, *window});
    types.push_back(elementOf(input));
  }
  for (auto [i, result] : llvm::enumerate(op.getResults())) {
    auto window = windowOf(result, maps[numInputs + i]);
    if (!window || !source.getArgument(numInputs + i).use_empty())
      return op.emitError("result ") << i << " must be written once and not read";
    outputs.push_back({result, *window});
  }
  SmallVector<int64_t> index;
  source.walk([&](linalg::IndexOp coordinate) {
    if (!llvm::is_contained(index, (int64_t)coordinate.getDim()))
      index.push_back(coordinate.getDim());
  });
  types.append(index.size(), builder.getI64Type());
  // 2. The body, with i64 arguments in place of linalg.index and its cast.
  bool plain = true;
  auto kernel = kernels.get(loc, types, [&](OpBuilder &b, ValueRange arguments) {
    IRMapping mapping;
    for (int64_t i = 0; i < numInputs; ++i)
      mapping.map(source.getArgument(i), arguments[i]);
    for (Operation &inner : source.without_terminator()) {
      if (isa<linalg::IndexOp>(inner))
        continue;
      auto cast = dyn_cast<arith::IndexCastOp>(inner);
      auto coordinate = cast ? cast.getIn().getDefiningOp<linalg::IndexOp>() : nullptr;
      if (coordinate) {
        size_t number = llvm::find(index, (int64_t)coordinate.getDim()) - index.begin();
        plain &= cast.getType().isInteger(64);
        mapping.map(cast.getResult(), arguments[numInputs + number]);
        continue;
      }
      plain &= llvm::none_of(inner.getOperandTypes(), [](Type t) { return t.isIndex(); });
      b.clone(inner, mapping);
    }
    SmallVector<Value> yields;
    for (Value value : source.getTerminator()->getOperands())
      yields.push_back(mapping.lookupOrDefault(value));
    return yields;
  });
  if (!plain)
    return op.emitError("must use linalg.index only through arith.index_cast to i64");
  return launch(kernel, inputs, outputs, index);
}
