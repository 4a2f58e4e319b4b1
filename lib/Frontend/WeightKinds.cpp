//===- WeightKinds.cpp - Weights and what only looks like them -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "WeightKinds.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

bool moire::frontend::isMask(onnx::InitializerOp op, WeightBytes &bytes) {
  if (op.getType().getRank() < 2)
    return false;
  bool sawZero = false, sawOther = false;
  for (double value : bytes.getFloats(op)) {
    if (value == 0)
      sawZero = true;
    else if (value == 1 || value < -9e3)
      sawOther = true;
    else
      return false;
  }
  return sawZero && sawOther;
}

bool moire::frontend::isRotaryFrequencies(Value value) {
  for (OpOperand &use : value.getUses()) {
    auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
    if (!node)
      return false;
    StringRef type = node.getOpType();
    if (type == "Sin" || type == "Cos")
      continue;
    bool passes = type == "Expand" || type == "Unsqueeze" || type == "Squeeze" || type == "Cast" ||
                  type == "MatMul" || type == "Mul" || type == "Reshape" || type == "Transpose" ||
                  type == "Concat" || type == "Einsum" || type == "Shape" || type == "Slice";
    if (!passes || (type != "Shape" && !isRotaryFrequencies(node.getResult(0))))
      return false;
  }
  return !value.use_empty();
}

bool moire::frontend::isPositionTable(onnx::InitializerOp op, WeightBytes &bytes) {
  ShapedType type = op.getType();
  if (type.getRank() < 2 || type.getNumElements() > (64 << 20))
    return false;
  int64_t columns = type.getShape().back();
  int64_t rows = columns ? type.getNumElements() / columns : 0;
  std::vector<double> values = bytes.getFloats(op);
  if (rows < 3 || columns < 2 || static_cast<int64_t>(values.size()) != rows * columns)
    return false;
  for (int64_t i = 0; i < columns; ++i)
    if (values[i] != 0 && values[i] != 1)
      return false;
  return llvm::all_of(values, [](double v) { return std::abs(v) <= 1; }) &&
         !std::equal(values.begin(), values.begin() + columns, values.begin() + columns) &&
         llvm::any_of(values, [](double v) { return v != 0 && v != 1 && v != -1; });
}

bool moire::frontend::isWeightOperand(OpOperand &use) {
  auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
  if (!node)
    return false;
  unsigned i = use.getOperandNumber();
  StringRef type = node.getOpType();
  if (type == "BatchNormalization")
    return i == 1 || i == 2;
  return ((type == "Conv" || type == "ConvTranspose" || type == "Gemm" ||
           type == "LayerNormalization" || type == "RMSNormalization" ||
           type == "GroupNormalization" || type == "InstanceNormalization") &&
          (i == 1 || i == 2)) ||
         (type == "MatMul" && i == 1) || (type == "Gather" && i == 0);
}
