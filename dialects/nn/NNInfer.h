//===- NNInfer.h - What inference of result types shares ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An op's result type is computed once, in NNShapes.cpp, NNLayerShapes.cpp or
// NNExpertShapes.cpp; the same computation is the verifier's shape check, because a
// different written type is an error.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NNINFER_H
#define MOIRE_DIALECTS_NN_NNINFER_H

#include "dialects/nn/NN.h"
#include "dialects/nn/NNTypes.h"
#include "llvm/ADT/STLExtras.h"

namespace moire::nn {

using Types = llvm::SmallVectorImpl<mlir::Type>;
using Loc = std::optional<mlir::Location>;

inline mlir::Type elementOf(mlir::Value v) { return typeOf(v).getElementType(); }
inline mlir::RankedTensorType withShape(mlir::Value v, llvm::ArrayRef<int64_t> shape) {
  return mlir::RankedTensorType::get(shape, elementOf(v));
}
/// The same with elements in which sums and statistics are.
inline mlir::RankedTensorType wideWithShape(mlir::Value v, llvm::ArrayRef<int64_t> shape) {
  return mlir::RankedTensorType::get(shape, wideElement(elementOf(v)));
}
/// "[2, 3]".
inline std::string str(llvm::ArrayRef<int64_t> dims) {
  std::string s;
  llvm::raw_string_ostream os(s);
  os << "[";
  llvm::interleaveComma(dims, os);
  os << "]";
  return s;
}

} // namespace moire::nn

#define INFER(OP)                                                                        \
  LogicalResult OP::inferReturnTypes(MLIRContext *ctx, std::optional<Location> loc,      \
                                     ValueRange operands, DictionaryAttr attributes,     \
                                     OpaqueProperties properties, RegionRange regions,   \
                                     Types &types)
// The adaptor gives the operands and attributes by name.
#define ADAPT(OP) OP::Adaptor op(operands, attributes, properties, regions); (void)ctx
// The result has an operand's type.
#define INFER_SAME(OP, FIELD)                                                            \
  INFER(OP) {                                                                            \
    ADAPT(OP);                                                                           \
    types.push_back(op.FIELD().getType());                                               \
    return success();                                                                    \
  }

#endif // MOIRE_DIALECTS_NN_NNINFER_H
