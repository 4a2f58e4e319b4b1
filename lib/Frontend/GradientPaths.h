//===- GradientPaths.h - Which operands of a graph a gradient reaches ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_GRADIENTPATHS_H
#define MOIRE_LIB_FRONTEND_GRADIENTPATHS_H

#include "dialects/onnx/Onnx.h"
#include "llvm/ADT/DenseSet.h"

namespace moire::frontend {

/// Walks back from a function's float results through what is differentiable:
/// not through indices, shapes, comparisons, limits and exponents.
class GradientPaths {
public:
  explicit GradientPaths(mlir::Operation *function);

  /// A change of this operand's value changes a result, and smoothly so.
  bool reaches(mlir::OpOperand &operand) const;

private:
  llvm::DenseSet<mlir::Value> reached;
};

/// Could operand `i` of the node carry a gradient, by its op type alone?
bool isDifferentiable(onnx::NodeOp node, unsigned i);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_GRADIENTPATHS_H
