//===- Tensor.h - Values of the interpreter ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every float element is a double and every integer an int64_t, whatever the
// tensor's element type: an op computes in double and rounds its result to the
// element type. For + - * / sqrt that equals computing in f32 (a double has
// more than twice the bits), for sums and exp it is the closer answer, and
// leaving the rounding out gives the whole program in f64.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_TENSOR_H
#define MOIRE_INTERP_TENSOR_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <memory>
#include <variant>
#include <vector>

namespace moire::interp {

/// A dense row-major tensor of static shape. A scalar is a tensor of rank 0.
/// Copies share their elements until one of them is written.
class Tensor {
public:
  Tensor() = default;
  /// Zeros. The element type is a float type, an integer type or index.
  explicit Tensor(mlir::RankedTensorType type);
  Tensor(mlir::Type elementType, llvm::ArrayRef<int64_t> shape)
      : Tensor(mlir::RankedTensorType::get(shape, elementType)) {}

  /// Every element `value`, rounded to the element type.
  static Tensor splat(mlir::RankedTensorType type, double value);
  /// A dense elements attribute, or a float or integer attribute as a scalar;
  /// fails on every other attribute.
  static mlir::FailureOr<Tensor> fromAttribute(mlir::Attribute attribute);
  /// Packed little-endian elements, an i1 in a byte. Fails where the number of
  /// bytes is not the type's.
  static mlir::FailureOr<Tensor> fromBytes(mlir::RankedTensorType type, llvm::ArrayRef<char> bytes);

  mlir::RankedTensorType type() const { return tensorType; }
  mlir::Type elementType() const { return tensorType.getElementType(); }
  llvm::ArrayRef<int64_t> shape() const { return tensorType.getShape(); }
  int64_t rank() const { return tensorType.getRank(); }
  int64_t size() const { return tensorType.getNumElements(); }
  bool isFloat() const { return mlir::isa<mlir::FloatType>(elementType()); }

  /// Elements to read; T is double for a float tensor, else int64_t.
  template <typename T> llvm::ArrayRef<T> get() const { return *std::get<Storage<T>>(data); }
  /// Elements to write; another tensor that shares them keeps its own.
  template <typename T> llvm::MutableArrayRef<T> edit() {
    auto &storage = std::get<Storage<T>>(data);
    if (storage.use_count() > 1)
      storage = std::make_shared<std::vector<T>>(*storage);
    return *storage;
  }
  llvm::ArrayRef<double> floats() const { return get<double>(); }
  llvm::ArrayRef<int64_t> ints() const { return get<int64_t>(); }

  /// The same elements under another shape of equal size.
  Tensor reshaped(llvm::ArrayRef<int64_t> shape) const;
  /// Rounds floats to the element type; wraps integers to its width.
  void round();

  /// A splat where all elements are equal.
  mlir::DenseElementsAttr toAttribute() const;
  /// The only element as a FloatAttr or IntegerAttr.
  mlir::TypedAttr toScalarAttribute() const;
  /// What fromBytes reads.
  std::vector<char> toBytes() const;

private:
  template <typename T> using Storage = std::shared_ptr<std::vector<T>>;

  mlir::RankedTensorType tensorType;
  std::variant<Storage<double>, Storage<int64_t>> data;
};

/// The value of `!nn.routing`: rows = (token, choice) pairs sorted by expert,
/// stable in pair = token * k + choice.
struct Routing {
  int64_t tokens, k, experts;
  std::vector<int64_t> offsets;   ///< [experts + 1], rows of expert e
  std::vector<int64_t> pairOfRow; ///< [rows]
  std::vector<int64_t> rowOfPair; ///< [rows]
  std::vector<int64_t> expertOfRow;

  int64_t rowsOf(int64_t expert) const { return offsets[expert + 1] - offsets[expert]; }
};

/// The value of a !dist.exchange: the routings of all members of the group, and
/// which of them is this rank's.
struct Exchange {
  int64_t index;
  std::vector<std::shared_ptr<const Routing>> routings;
};

/// What an SSA value holds while a program runs.
class RuntimeValue {
public:
  RuntimeValue() = default;
  RuntimeValue(Tensor tensor) : value(std::move(tensor)) {}
  RuntimeValue(std::shared_ptr<const Routing> routing) : value(std::move(routing)) {}
  RuntimeValue(std::shared_ptr<const Exchange> exchange) : value(std::move(exchange)) {}
  bool isTensor() const { return std::holds_alternative<Tensor>(value); }
  const Tensor &tensor() const { return std::get<Tensor>(value); }
  const Routing &routing() const { return *sharedRouting(); }
  const std::shared_ptr<const Routing> &sharedRouting() const {
    return std::get<std::shared_ptr<const Routing>>(value);
  }
  const Exchange &exchange() const { return *std::get<std::shared_ptr<const Exchange>>(value); }

private:
  std::variant<Tensor, std::shared_ptr<const Routing>, std::shared_ptr<const Exchange>> value;
};

/// Calls fn(T()) with the C++ type of the tensor's elements.
template <typename Fn> auto dispatch(const Tensor &tensor, Fn fn) {
  return tensor.isFloat() ? fn(double()) : fn(int64_t());
}

/// Row-major strides of a shape, in elements.
llvm::SmallVector<int64_t> stridesOf(llvm::ArrayRef<int64_t> shape);

/// Calls fn(index) for every index of the shape in row-major order.
template <typename Fn> void forEachIndex(llvm::ArrayRef<int64_t> shape, Fn fn) {
  llvm::SmallVector<int64_t> index(shape.size(), 0);
  if (llvm::is_contained(shape, 0))
    return;
  while (true) {
    fn(llvm::ArrayRef<int64_t>(index));
    int64_t d = shape.size() - 1;
    while (d >= 0 && ++index[d] == shape[d])
      index[d--] = 0;
    if (d < 0)
      return;
  }
}

} // namespace moire::interp

#endif // MOIRE_INTERP_TENSOR_H
