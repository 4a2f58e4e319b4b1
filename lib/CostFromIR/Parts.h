//===- Parts.h - A forward in parts ----------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_COSTFROMIR_PARTS_H
#define MOIRE_LIB_COSTFROMIR_PARTS_H

#include "mlir/IR/Operation.h"
#include "moire/CostFromIR/CostFromIR.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

namespace moire {

/// Which part of the model each op of its forward belongs to.
struct Parts {
  std::vector<std::string> names; ///< embedding, layer 0, …, head
  llvm::DenseMap<mlir::Operation *, int> partOf;
  int64_t tokens = 1; ///< of the tensor that crosses between layers
  int64_t width = 1;  ///< its elements per token
};

/// Cuts the function `forward` of the model phase.
Parts cutForward(mlir::Operation *forward);

/// The value behind reshapes, which move nothing.
mlir::Value behindReshapes(mlir::Value value);
/// The parameter that `value` is, as it is stored or as a view of it; null for what is computed.
mlir::Operation *parameterRead(mlir::Value value);
/// Whether an op is a product of two computed values, as attention is before it is recognised.
bool isProductOfComputed(mlir::Operation *op);

/// [parameter] → parts that read it, in order.
using ParameterParts = llvm::MapVector<llvm::StringRef, llvm::SmallVector<int>>;

/// Products, attention and parameters of each part, from the model phase.
ParameterParts costForward(mlir::ModuleOp module, const Parts &parts, ImportedCost &cost);

/// Bytes that each part's forward moves and keeps, from the planned program.
void costProgram(mlir::ModuleOp module, const Parts &parts, const ParameterParts &parameters,
                 double elementBytes, ImportedCost &cost);

} // namespace moire

#endif // MOIRE_LIB_COSTFROMIR_PARTS_H
