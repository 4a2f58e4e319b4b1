//===- Symbolic.h - What a tensor holds, whatever ops wrote it -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RAISE_SYMBOLIC_H
#define MOIRE_RAISE_SYMBOLIC_H

#include "moire/Raise/Layout.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include <deque>
#include <map>

namespace moire::raise {

/// A tensor's elements taken in another order: at each position of `layout`'s
/// shape the element of `base` whose row-major position the layout gives.
struct View {
  mlir::Value base;
  Layout layout;
};

/// The tensor itself.
View viewOf(mlir::Value v);

/// Builds reshape, slice, transpose and broadcast ops that give the view's
/// elements in `shape`'s dims (default: the layout's own). Returns null, and
/// builds nothing, where these four ops cannot express it.
mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc, const View &view);

/// Expressions over one position of a tensor, equal where they were computed
/// in the same way from the same elements: all data movement is composed away,
/// elementwise ops are nodes, everything else is a leaf. Two tensors of one
/// shape hold equal values if their ids are equal; the reverse does not hold.
class Symbols {
public:
  using Id = unsigned;
  enum class Kind {
    Leaf,        ///< the element of `base` at `layout`
    Constant,    ///< `constant` everywhere
    Index,       ///< the integer `layout`
    NonNegative, ///< i1: layout >= 0
    Op,          ///< the elementwise op `name` of `operands`
  };
  struct Node {
    Kind kind;
    mlir::Type type; ///< element type
    mlir::Value base;
    Layout layout;
    mlir::TypedAttr constant;
    std::optional<mlir::OperationName> name;
    mlir::DictionaryAttr attributes;
    llvm::SmallVector<Id, 3> operands;
    /// Where an Op was first met: a view that holds it already.
    View origin;
    /// Bit d: the value changes along dim d.
    uint64_t varying = 0;
  };

  /// Follows reshape, transpose, broadcast, slice, concat and gather at linear
  /// indices as far as one tensor stays the source of all elements.
  View peel(View view);

  Id of(const View &view);
  Id of(mlir::Value v) { return of(viewOf(v)); }
  const Node &operator[](Id id) const { return nodes[id]; }

  Id constant(mlir::TypedAttr value);
  Id index(const Layout &layout, mlir::Type type);
  Id op(mlir::OperationName name, mlir::DictionaryAttr attributes, mlir::Type type,
        llvm::ArrayRef<Id> operands, View origin = {});

  bool isOp(Id id, llvm::StringRef name) const {
    return nodes[id].kind == Kind::Op && nodes[id].name->getStringRef() == name;
  }
  /// The value of a constant float or integer node.
  std::optional<double> scalar(Id id) const;
  std::optional<int64_t> integer(Id id) const;
  /// Bounds of an integer node, where they are known.
  std::optional<std::pair<int64_t, int64_t>> range(Id id) const;

  /// Whether the value changes along dim `dim` of the shape on which it stands.
  bool varies(Id id, unsigned dim) const { return nodes[id].varying >> dim & 1; }
  /// The same expression with `with` in place of `what`, simplified.
  Id substitute(Id id, Id what, Id with);
  Id logicalNot(Id id);
  /// The tensors that the value is computed from.
  void leaves(Id id, llvm::SmallVectorImpl<mlir::Value> &out) const;

  /// Builds the value as a tensor of `shape` over the given dims of the shape on
  /// which it stands. It must not vary along the other dims, nor along those
  /// for which `shape` has 1 in place of the size. Takes a view of what is there
  /// already where that is not larger; else repeats the elementwise ops. Null
  /// where a view cannot be expressed.
  mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc, Id id,
                          llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<unsigned> dims);

  void print(llvm::raw_ostream &os, Id id) const;

private:
  using Key = std::vector<int64_t>;
  Id intern(Node node);
  Id leaf(const View &view);
  Id expand(const View &view);
  Id expandConstant(mlir::Operation *constant, const View &view);
  std::optional<Id> simplify(llvm::StringRef name, mlir::DictionaryAttr attributes,
                             mlir::Type type, llvm::ArrayRef<Id> operands);
  std::optional<Id> simplifyInteger(llvm::StringRef name, mlir::DictionaryAttr attributes,
                                    mlir::Type type, Id a, Id b);
  std::optional<Id> simplifyBool(llvm::StringRef name, Id a, Id b);
  std::optional<Id> simplifyTwoValued(llvm::StringRef name, mlir::DictionaryAttr attributes,
                                      mlir::Type type, llvm::ArrayRef<Id> operands);
  std::optional<Layout> asIndex(Id id, const Layout &like) const;
  std::optional<Layout> linear(llvm::StringRef name, Id a, Id b) const;
  Id boolean(mlir::MLIRContext *context, bool value);
  Id nonNegative(const Layout &layout, mlir::MLIRContext *context);

  std::deque<Node> nodes;
  std::map<Key, Id> ids;
  std::map<Key, Id> views;
};

} // namespace moire::raise

#endif // MOIRE_RAISE_SYMBOLIC_H
