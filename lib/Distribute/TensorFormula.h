//===- TensorFormula.h - Ops at one place, so that a formula reads like one ===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_TENSORFORMULA_H
#define MOIRE_LIB_DISTRIBUTE_TENSORFORMULA_H

#include "TensorRules.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "mlir/IR/Builders.h"

namespace moire::distribute {

struct TensorFormula {
  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::ArrayAttr axes; ///< of the collectives
  int64_t ranks;

  using Value = mlir::Value;
  template <typename Op, typename... Operands> Value make(Operands &&...operands) {
    return b.create<Op>(loc, std::forward<Operands>(operands)...);
  }
  Value constant(mlir::RankedTensorType type, double value) {
    mlir::Type element = type.getElementType();
    mlir::Attribute number = mlir::isa<mlir::IntegerType>(element)
                                 ? mlir::Attribute(b.getIntegerAttr(element, (int64_t)value))
                                 : mlir::Attribute(b.getFloatAttr(element, value));
    return make<mlir::arith::ConstantOp>(mlir::DenseElementsAttr::get(type, number));
  }
  Value like(Value v, double value) {
    return constant(mlir::cast<mlir::RankedTensorType>(v.getType()), value);
  }
  mlir::RankedTensorType type(llvm::ArrayRef<int64_t> shape, Value elementsOf) {
    return mlir::RankedTensorType::get(shape, mlir::getElementTypeOrSelf(elementsOf));
  }
  Value repeat(Value v, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> dims) {
    return make<nn::BroadcastOp>(type(shape, v), v, dims);
  }
  Value reshape(Value v, llvm::ArrayRef<int64_t> shape) {
    return make<nn::ReshapeOp>(type(shape, v), v);
  }
  Value add(Value l, Value r) { return make<mlir::arith::AddFOp>(l, r); }
  Value sub(Value l, Value r) { return make<mlir::arith::SubFOp>(l, r); }
  Value mul(Value l, Value r) { return make<mlir::arith::MulFOp>(l, r); }
  Value div(Value l, Value r) { return make<mlir::arith::DivFOp>(l, r); }
  Value both(Value l, Value r) { return make<mlir::arith::AndIOp>(l, r); }
  Value compare(mlir::arith::CmpIPredicate predicate, Value l, Value r) {
    return make<mlir::arith::CmpIOp>(predicate, l, r);
  }
  Value select(Value condition, Value yes, Value no) {
    return make<mlir::arith::SelectOp>(condition, yes, no);
  }
  Value reduce(nn::ReduceKind kind, Value v, llvm::ArrayRef<int64_t> dims) {
    return make<nn::ReduceOp>(v, kind, dims);
  }
  Value sumOverRanks(Value v) { return make<dist::AllReduceOp>(v, axes); }
};

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_TENSORFORMULA_H
