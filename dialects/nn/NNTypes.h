//===- NNTypes.h - Types of the dialect's tensors -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Short names that the dialect's own files share.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NNTYPES_H
#define MOIRE_DIALECTS_NN_NNTYPES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

namespace moire::nn {

inline mlir::RankedTensorType typeOf(mlir::Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType());
}
inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value v) { return typeOf(v).getShape(); }

} // namespace moire::nn

#endif // MOIRE_DIALECTS_NN_NNTYPES_H
