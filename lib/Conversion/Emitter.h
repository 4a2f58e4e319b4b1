//===- Emitter.h - Builds nn, arith and math ops, folding as it goes -----===//
//
// Three things that every handler needs and none should repeat: types are
// inferred without the fatal error of generated builders, ops on constants are
// folded at once (shape arithmetic must be known before the next node can get
// its type), and a value that could not be built is null and stays null
// through all further helpers, so that a handler tests once, at its end.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_CONVERSION_EMITTER_H
#define MOIRE_LIB_CONVERSION_EMITTER_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace moire::conversion {
using mlir::Value;
using Dims = llvm::ArrayRef<int64_t>;
using DimVector = llvm::SmallVector<int64_t>;

inline mlir::RankedTensorType typeOf(Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType());
}
inline Dims shapeOf(Value v) { return v ? typeOf(v).getShape() : Dims(); }
inline int64_t rankOf(Value v) { return shapeOf(v).size(); }
inline mlir::Type elementOf(Value v) { return typeOf(v).getElementType(); }
inline bool isFloat(Value v) { return mlir::isa<mlir::FloatType>(elementOf(v)); }
inline bool isBool(Value v) { return elementOf(v).isInteger(1); }
inline int64_t product(Dims dims) {
  int64_t p = 1;
  for (int64_t d : dims)
    p *= d;
  return p;
}
/// 0, 1, ..., n-1.
DimVector upTo(int64_t n);
/// "[2, 10, 32]"
std::string str(Dims dims);
/// The contents of a constant, or null.
mlir::DenseElementsAttr constantOf(Value v);
/// The contents of a constant integer (or bool) tensor in row-major order.
std::optional<DimVector> intsOf(Value v);
/// The one value that all elements of a constant have, as a double.
std::optional<double> uniformOf(Value v);
/// True where no element can be negative: constants, iota, top_k's indices and
/// what data movement makes of them.
bool isNonNegative(Value v);
/// The shape that numpy's rules give two operands; none if they do not fit.
std::optional<DimVector> broadcastShape(Dims a, Dims b);

class Emitter {
public:
  /// Builds at the end of the function's entry block.
  explicit Emitter(mlir::func::FuncOp func);

  mlir::Location loc;
  mlir::OpBuilder builder;

  mlir::RankedTensorType tensor(Dims shape, mlir::Type element) const {
    return mlir::RankedTensorType::get(shape, element);
  }
  mlir::Type i1() { return builder.getI1Type(); }
  mlir::Type i64() { return builder.getI64Type(); }
  mlir::Type f32() { return builder.getF32Type(); }

  /// Builds an op with given result types or a plain signature.
  template <typename OpTy, typename... Args>
  Value create(Args &&...args) {
    return finish(builder.create<OpTy>(loc, std::forward<Args>(args)...));
  }
  /// Builds an op that infers its types; results are null after an error,
  /// which inference has reported at `loc`. The op gets its operands and
  /// attributes by the builder with explicit result types.
  template <typename OpTy, typename... Args>
  llvm::SmallVector<Value> inferAll(unsigned results, Args &&...args) {
    mlir::OperationState state(loc, OpTy::getOperationName());
    llvm::SmallVector<mlir::Type> types(results, builder.getNoneType());
    OpTy::build(builder, state, mlir::TypeRange(types), std::forward<Args>(args)...);
    types.clear();
    auto *ctx = builder.getContext();
    if (llvm::is_contained(state.operands, Value()))
      return llvm::SmallVector<Value>(results);
    if (failed(OpTy::inferReturnTypes(ctx, loc, state.operands, state.attributes.getDictionary(ctx),
                                      state.getRawProperties(), {}, types)))
      return llvm::SmallVector<Value>(results);
    state.types.assign(types.begin(), types.end());
    return finishAll(builder.create(state));
  }
  template <typename OpTy, typename... Args>
  Value infer(Args &&...args) {
    return inferAll<OpTy>(1, std::forward<Args>(args)...)[0];
  }

  // Constants. One op per attribute, at the function's start.
  Value constant(mlir::DenseElementsAttr attr);
  Value splat(mlir::RankedTensorType type, double value);
  Value splat(Dims shape, mlir::Type element, double value) {
    return splat(tensor(shape, element), value);
  }
  Value like(Value v, double value) { return v ? splat(typeOf(v), value) : Value(); }
  Value ints(Dims values);                   ///< rank 1
  Value ints(Dims values, Dims shape);       ///< i64 in row-major order
  Value iota(Dims shape, int64_t dim, mlir::Type element);

  // Data movement.
  Value reshape(Value v, Dims shape);
  Value flatten(Value v, int64_t axis);      ///< to rank 2, cut before `axis`
  Value transpose(Value v, Dims permutation);
  Value moveToLast(Value v, int64_t axis);   ///< axis becomes the last dim
  Value moveFromLast(Value v, int64_t axis); ///< its inverse
  Value broadcastTo(Value v, Dims shape);    ///< numpy's rules; error if it does not fit
  bool broadcastBoth(Value &a, Value &b);    ///< false, after an error, if they do not fit
  Value slice(Value v, Dims starts, Dims limits, Dims strides = {});
  Value sliceDim(Value v, int64_t dim, int64_t start, int64_t limit, int64_t stride = 1);
  Value concat(llvm::ArrayRef<Value> values, int64_t dim);
  Value reduce(nn::ReduceKind kind, Value v, Dims dims, bool keep = false);
  Value mean(Value v, Dims dims, bool keep = false);
  Value matmul(Value lhs, Value rhs, bool transposeLhs = false, bool transposeRhs = false);
  Value softmax(Value v, int64_t axis);
  Value logSoftmax(Value v, int64_t axis);

  // Elementwise; operands are broadcast to each other.
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b);               ///< integers: towards zero, as ONNX
  Value maximum(Value a, Value b);
  Value minimum(Value a, Value b);
  Value logicalAnd(Value a, Value b);
  Value logicalOr(Value a, Value b);
  Value logicalNot(Value v);
  Value compare(mlir::arith::CmpFPredicate f, mlir::arith::CmpIPredicate i, Value a, Value b);
  Value select(Value condition, Value a, Value b);
  Value cast(Value v, mlir::Type element);
  Value scale(Value v, double factor);       ///< v * factor; v itself for 1
  Value shift(Value v, double offset);       ///< v + offset; v itself for 0
  template <typename OpTy>
  Value unary(Value v) {
    return v ? create<OpTy>(v) : Value();
  }
  Value negate(Value v);
  Value sigmoid(Value v) { return v ? infer<nn::SigmoidOp>(v) : Value(); }

private:
  template <typename FloatOp, typename IntOp>
  Value binary(Value a, Value b);
  Value finish(mlir::Operation *op) { return finishAll(op)[0]; }
  llvm::SmallVector<Value> finishAll(mlir::Operation *op);

  mlir::Operation *lastConstant = nullptr;
  llvm::DenseMap<mlir::Attribute, Value> known;
};

} // namespace moire::conversion

#endif // MOIRE_LIB_CONVERSION_EMITTER_H
