//===- WeightKinds.h - Weights and what only looks like them -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// For files that do not tell which float initializers are parameters.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_WEIGHTKINDS_H
#define MOIRE_LIB_FRONTEND_WEIGHTKINDS_H

#include "WeightBytes.h"

namespace moire::frontend {

/// An operand that layers learn: a kernel, a matrix, a bias, a norm's scale, a
/// table that is looked up.
bool isWeightOperand(mlir::OpOperand &use);

/// The running mean or variance of a batch norm.
bool isStatistic(mlir::OpOperand &use);

/// Nothing but zero and a value that is a flag (1) or switches off (huge negatives;
/// Swin has -100), in at least two dims.
bool isMask(onnx::InitializerOp op, WeightBytes &bytes);

/// Leads to nothing but sines and cosines.
bool isRotaryFrequencies(mlir::Value value);

/// A table of sines and cosines by position: its first three rows are those of
/// angles 0, f and 2f in every column.
bool isPositionTable(onnx::InitializerOp op, WeightBytes &bytes);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_WEIGHTKINDS_H
