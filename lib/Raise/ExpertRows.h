//===- ExpertRows.h - A function of experts, rebuilt on routed rows ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_RAISE_EXPERTROWS_H
#define MOIRE_LIB_RAISE_EXPERTROWS_H

#include "Matchers.h"

namespace moire::raise {

/// Rewrites a value that stands on (token, choice) pairs as one on rows sorted
/// by expert. Every exporter's form of a mixture of experts comes down to this:
/// whatever finds the pairs hands their values to `rebuild`.
///
/// A value on pairs is a view over [T, K, ...]. Rebuilt are: matrix products
/// with matrices gathered at the ids (nn.grouped_matmul), vectors gathered at
/// the ids (nn.per_expert), what is the same for all of a token's choices
/// (nn.dispatch), what is the same everywhere, concat within a row, elementwise
/// ops, and norms and softmax over a row. What does not depend on the experts
/// is computed as before and then sorted. Everything else is refused, so that
/// no rows are ever mixed.
class ExpertRows {
public:
  ExpertRows(Symbols &symbols, mlir::OpBuilder &builder, mlir::Location loc, int64_t tokens,
             int64_t k)
      : symbols(symbols), builder(builder), loc(loc), tokens(tokens), k(k) {}

  /// The ids at which experts' matrices are gathered behind `pairs` [T, K, ...]:
  /// the one candidate, as an expression over [T, K], and the experts' number.
  struct Ids {
    Symbols::Id id;
    int64_t experts;
  };
  std::optional<Ids> findIds(const View &pairs) const;

  /// Sorts the rows; must come before `rebuild`.
  void route(const Ids &ids, mlir::Value idsValue);
  mlir::Value routing() const { return routingValue; }

  /// Whether experts' matrices or vectors are gathered behind `v`.
  bool dependsOnExperts(mlir::Value v);

  /// The rows [T*K, ...] of `pairs` [T, K, ...]; null where something is not of
  /// the kinds above (ops built by then are dead).
  mlir::Value rebuild(View pairs);

private:
  /// A view over [T, K, rest...] of a tensor whose last `size` elements in
  /// row-major order belong to one row.
  struct RowView {
    Layout rows; ///< [T, K] -> number of the row
    Layout rest; ///< [rest...] -> position within the row
  };
  static std::optional<RowView> splitRows(const Layout &layout, int64_t size);

  mlir::Value matmul(nn::MatmulOp op, const Layout &rows);
  mlir::Value concat(nn::ConcatOp op, const Layout &rows);
  /// The gather behind a view over [T, K, ...], if it is at the ids.
  nn::GatherOp gatherAtIds(const View &view, RowView &at);
  mlir::Value elementwise(mlir::Operation *op, const Layout &layout);
  mlir::Value rowWise(mlir::Operation *op, const View &pairs);
  mlir::Value sorted(const View &pairs);
  mlir::Value whole(mlir::Operation *op, const Layout &rows,
                    llvm::function_ref<mlir::Value()> build);
  mlir::Value pick(mlir::Value rows, const Layout &rest);
  mlir::Value broadcastRows(mlir::Value v);
  mlir::Value reshape(mlir::Value v, llvm::ArrayRef<int64_t> shape);

  Symbols &symbols;
  mlir::OpBuilder &builder;
  mlir::Location loc;
  int64_t tokens, k;
  Symbols::Id ids = 0;
  mlir::Value idsValue, routingValue, pairRouting;
  mlir::Operation *idsOrigin = nullptr; ///< nothing before it depends on ids
  llvm::DenseMap<mlir::Value, bool> onExperts;
  struct Known {
    mlir::Operation *op;
    Layout layout;
    mlir::Value rows;
  };
  llvm::SmallVector<Known> known;
};

/// nn.router's results, where `weights` and `ids` (expressions over [T, K]) are
/// the weights and ids of one; null values elsewhere.
struct RouterValues {
  mlir::Value weights;
  mlir::Value ids;
};
RouterValues raiseRouter(Symbols &symbols, mlir::OpBuilder &builder, mlir::Location loc,
                         Symbols::Id weights, Symbols::Id ids, int64_t tokens, int64_t k);

} // namespace moire::raise

#endif // MOIRE_LIB_RAISE_EXPERTROWS_H
