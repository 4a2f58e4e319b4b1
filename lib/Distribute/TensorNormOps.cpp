//===- TensorNormOps.cpp - Norms of which each rank has pieces of the rows ===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorFormula.h"
#include "TensorLocal.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

namespace {

/// A norm over the last dim of x, of which this rank has one in `ranks` columns.
class RowPieces {
public:
  RowPieces(TensorFormula &f, Value x) : f(f), shape(sizes(x)), size(shape.back() * f.ranks) {}

  /// [...] -> [..., D].
  Value perRow(Value v) {
    return f.repeat(v, shape, llvm::to_vector(llvm::seq<int64_t>(0, shape.size() - 1)));
  }
  /// [D] -> [..., D].
  Value perColumn(Value v) { return f.repeat(v, shape, {(int64_t)shape.size() - 1}); }
  /// The sums of both over whole rows, in one collective: [2, ...].
  std::pair<Value, Value> sumRows(Value first, Value second) {
    SmallVector<int64_t> one = {1};
    llvm::append_range(one, shape.drop_back());
    Value sums[] = {f.reshape(local(first), one), f.reshape(local(second), one)};
    Value all = f.sumOverRanks(f.make<nn::ConcatOp>(ValueRange(sums), 0));
    return {entry(all, 0), entry(all, 1)};
  }
  Value sumRow(Value v) { return f.sumOverRanks(local(v)); }
  /// sqrt(squares / D + epsilon).
  Value root(Value squares, double epsilon) {
    Value mean = f.div(squares, f.like(squares, size));
    return f.make<math::SqrtOp>(f.add(mean, f.like(mean, epsilon)));
  }
  int64_t columns() const { return size; }

private:
  Value local(Value v) { return f.reduce(nn::ReduceKind::sum, v, {(int64_t)shape.size() - 1}); }
  Value entry(Value all, int64_t i) {
    SmallVector<int64_t> starts(sizes(all).size(), 0), limits(sizes(all)),
        strides(sizes(all).size(), 1);
    starts[0] = i;
    limits[0] = i + 1;
    return f.reshape(f.make<nn::SliceOp>(all, starts, limits, strides), shape.drop_back());
  }

  TensorFormula &f;
  ArrayRef<int64_t> shape;
  int64_t size;
};

} // namespace

static Value rmsNorm(TensorFormula &f, nn::RMSNormOp op) {
  Type wide = nn::wideElement(getElementTypeOrSelf(op.getInput()));
  Value x = nn::castElements(f.b, f.loc, op.getInput(), wide);
  RowPieces rows(f, x);
  Value root = rows.root(rows.sumRow(f.mul(x, x)), op.getEpsilon().convertToDouble());
  Value y = f.div(x, rows.perRow(root));
  if (op.getScale())
    y = f.mul(y, rows.perColumn(op.getScale()));
  return nn::castElements(f.b, f.loc, y, getElementTypeOrSelf(op.getResult()));
}

/// With n = x / root and g = dy * scale:  dx = (g - n * mean(g * n)) / root,
/// dscale = the sum of dy * n over rows.
static SmallVector<Value> rmsNormGrad(TensorFormula &f, nn::RMSNormGradOp op) {
  Type wide = nn::wideElement(getElementTypeOrSelf(op.getInput()));
  Value x = nn::castElements(f.b, f.loc, op.getInput(), wide);
  Value dy = nn::castElements(f.b, f.loc, op.getCotangent(), wide);
  RowPieces rows(f, x);
  Value g = op.getScale() ? f.mul(dy, rows.perColumn(op.getScale())) : dy;
  auto [squares, products] = rows.sumRows(f.mul(x, x), f.mul(g, x));
  Value root = rows.root(squares, op.getEpsilon().convertToDouble());
  Value n = f.div(x, rows.perRow(root));
  Value mean = f.div(products, f.mul(root, f.like(root, rows.columns())));
  Value dx = f.div(f.sub(g, f.mul(n, rows.perRow(mean))), rows.perRow(root));
  auto dims = llvm::to_vector(llvm::seq<int64_t>(0, sizes(x).size() - 1));
  return {nn::castElements(f.b, f.loc, dx, getElementTypeOrSelf(op.getDInput())),
          f.reduce(nn::ReduceKind::sum, f.mul(dy, n), dims)};
}

SmallVector<Value> distribute::expandNorm(OpBuilder &b, Operation *op, ArrayAttr axes,
                                          int64_t ranks) {
  TensorFormula f{b, op->getLoc(), axes, ranks};
  if (auto norm = dyn_cast<nn::RMSNormOp>(op))
    return {rmsNorm(f, norm)};
  return rmsNormGrad(f, cast<nn::RMSNormGradOp>(op));
}
