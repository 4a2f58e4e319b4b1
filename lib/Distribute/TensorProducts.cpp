//===- TensorProducts.cpp - Splits through nn.matmul ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

namespace {

/// The dims of a product's operands and result by what they are: a batch dim has the
/// same place in all three.
struct Roles {
  int64_t lhsRows, lhsInner, rhsInner, rhsColumns, rows, columns;
  bool batched; ///< both sides have the batch dims

  Roles(nn::MatmulOp op) {
    int64_t l = sizes(op.getLhs()).size(), r = sizes(op.getRhs()).size();
    lhsRows = op.getTransposeLhs() ? l - 1 : l - 2;
    lhsInner = op.getTransposeLhs() ? l - 2 : l - 1;
    rhsInner = op.getTransposeRhs() ? r - 1 : r - 2;
    rhsColumns = op.getTransposeRhs() ? r - 2 : r - 1;
    rows = l - 2;
    columns = l - 1;
    batched = r > 2;
  }
  bool isBatch(int64_t dim) const { return dim < rows; }
};

} // namespace

bool distribute::assignProducts(const TensorRules &, Operation *op, Given given, Assignment &out) {
  auto matmul = dyn_cast<nn::MatmulOp>(op);
  if (!matmul)
    return false;
  Roles roles(matmul);
  const Shard &lhs = given[0], &rhs = given[1];
  Shard &left = out.operands[0], &right = out.operands[1], &result = out.results[0];

  // Columns of the right side: column-parallel. First, because gathering a left side
  // is cheaper than gathering a weight.
  if (rhs.isSplit(roles.rhsColumns)) {
    right = rhs;
    result = rhs.at(roles.columns);
  } else if (lhs.isSplit(roles.lhsInner) || (rhs.isSplit(roles.rhsInner) && !lhs.isSplit())) {
    // Over the inner dim each rank has a summand: row-parallel.
    const Shard &inner = lhs.isSplit() ? lhs : rhs;
    left = inner.at(roles.lhsInner);
    right = inner.at(roles.rhsInner);
    result = Shard::unreduced();
  } else if (lhs.isSplit(roles.lhsRows)) {
    left = lhs;
    result = lhs.at(roles.rows);
  } else if (lhs.isSplit()) {
    left = result = lhs;
    if (roles.batched)
      right = lhs;
  } else if (rhs.isSplit()) {
    left = right = result = rhs;
  }
  return true;
}

std::optional<bool> distribute::productWants(OpResult result, const Shard &s, Wishes &wishes) {
  auto op = dyn_cast<nn::MatmulOp>(result.getOwner());
  if (!op)
    return std::nullopt;
  Roles roles(op);
  if (s.dim == roles.columns) {
    wishes.push_back({op.getRhs(), s.at(roles.rhsColumns)});
  } else if (s.dim == roles.rows) {
    wishes.push_back({op.getLhs(), s.at(roles.lhsRows)});
  } else {
    wishes.push_back({op.getLhs(), s});
    if (roles.batched)
      wishes.push_back({op.getRhs(), s});
  }
  return true;
}
