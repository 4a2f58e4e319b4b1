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
  bool sawZero = false;
  std::optional<double> other;
  bool fits = bytes.visitFloats(op, [&](double value) {
    if (value == 0)
      return sawZero = true;
    bool isHuge = value < -9e3 && other.value_or(value) < -9e3; // -inf, -3.4e38, -1e4
    if (!isHuge && (other.value_or(value) != value || (value != 1 && value > -50)))
      return false;
    other = value;
    return true;
  });
  return fits && sawZero && other;
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
  int64_t columns = type.getRank() < 2 ? 0 : type.getShape().back();
  if (columns < 2 || type.getNumElements() / columns < 3)
    return false;
  std::vector<double> rows;
  rows.reserve(3 * columns);
  bytes.visitFloats(op, [&](double value) {
    rows.push_back(value);
    return rows.size() < size_t(3 * columns);
  });
  if (rows.size() < size_t(3 * columns))
    return false;
  bool moves = false;
  for (int64_t i = 0; i < columns; ++i) {
    double r0 = rows[i], r1 = rows[columns + i], r2 = rows[2 * columns + i];
    moves |= r1 != r0;
    // 1 - cos 2f = 2 (1 - cos^2 f) and |sin 2f| = 2 |sin f cos f|. Relative, with
    // room for bf16: a padding row of zeros before small random ones must fail.
    double got = r0 == 1 ? 1 - r2 : std::abs(r2);
    double want = r0 == 1 ? 2 * (1 - r1 * r1)
                          : 2 * std::abs(r1) * std::sqrt(std::max(0.0, 1 - r1 * r1));
    bool isCell = (r0 == 0 || r0 == 1) && std::abs(r1) <= 1 && std::abs(r2) <= 1;
    if (!isCell || std::abs(got - want) > 0.03 * std::abs(want) + 1e-5)
      return false;
  }
  return moves;
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

bool moire::frontend::isStatistic(OpOperand &use) {
  auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
  return node && node.getOpType() == "BatchNormalization" && use.getOperandNumber() >= 3;
}
