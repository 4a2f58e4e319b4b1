//===- NNShapes.cpp - Types of what moves, contracts, reduces ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNInfer.h"

using namespace mlir;
using namespace moire::nn;

/// Dims must be strictly increasing and inside 0..rank-1.
static LogicalResult checkDims(Loc loc, ArrayRef<int64_t> dims, int64_t rank, StringRef what) {
  int64_t last = -1;
  for (int64_t d : dims) {
    if (d <= last || d >= rank)
      return emitOptionalError(loc, what, " ", str(dims),
                               " must be strictly increasing and lie in 0..", rank - 1);
    last = d;
  }
  return success();
}
//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

LogicalResult ReshapeOp::verify() {
  auto in = getInput().getType(), out = getType();
  if (in.getElementType() != out.getElementType())
    return emitOpError("element type ") << out.getElementType() << " must be the input's "
                                        << in.getElementType();
  if (in.getNumElements() != out.getNumElements())
    return emitOpError("result has ") << out.getNumElements() << " elements but the input has "
                                      << in.getNumElements();
  return success();
}

INFER(TransposeOp) {
  ADAPT(TransposeOp);
  auto shape = shapeOf(op.getInput());
  auto perm = op.getPermutation();
  SmallVector<bool> seen(shape.size(), false);
  SmallVector<int64_t> out;
  for (int64_t p : perm) {
    if (p < 0 || p >= (int64_t)shape.size() || seen[p])
      return emitOptionalError(loc, "permutation ", str(perm), " must hold each of 0..",
                               (int64_t)shape.size() - 1, " once");
    seen[p] = true;
    out.push_back(shape[p]);
  }
  if (perm.size() != shape.size())
    return emitOptionalError(loc, "permutation has ", perm.size(), " entries but the input has rank ",
                             shape.size());
  types.push_back(withShape(op.getInput(), out));
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto in = getInput().getType(), out = getType();
  auto dims = getDimensions();
  if (in.getElementType() != out.getElementType())
    return emitOpError("element type ") << out.getElementType() << " must be the input's "
                                        << in.getElementType();
  if ((int64_t)dims.size() != in.getRank())
    return emitOpError("dimensions has ") << dims.size() << " entries but the input has rank "
                                          << in.getRank();
  if (failed(checkDims(getLoc(), dims, out.getRank(), "dimensions")))
    return failure();
  for (auto [i, d] : llvm::enumerate(dims))
    if (in.getDimSize(i) != out.getDimSize(d))
      return emitOpError("input dim ") << i << " of size " << in.getDimSize(i)
                                       << " does not match result dim " << d << " of size "
                                       << out.getDimSize(d);
  return success();
}

INFER(SliceOp) {
  ADAPT(SliceOp);
  auto shape = shapeOf(op.getInput());
  auto starts = op.getStarts(), limits = op.getLimits(), strides = op.getStrides();
  if (starts.size() != shape.size() || limits.size() != shape.size() ||
      strides.size() != shape.size())
    return emitOptionalError(loc, "starts, limits and strides must have ", shape.size(),
                             " entries each, one per dim");
  SmallVector<int64_t> out;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (starts[i] < 0 || limits[i] < starts[i] || limits[i] > shape[i] || strides[i] < 1)
      return emitOptionalError(loc, "window ", starts[i], "..", limits[i], " by ", strides[i],
                               " does not lie in dim ", i, " of size ", shape[i]);
    out.push_back((limits[i] - starts[i] + strides[i] - 1) / strides[i]);
  }
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(PadOp) {
  ADAPT(PadOp);
  auto shape = shapeOf(op.getInput());
  auto low = op.getLow(), high = op.getHigh(), interior = op.getInterior();
  if (low.size() != shape.size() || high.size() != shape.size() || interior.size() != shape.size())
    return emitOptionalError(loc, "low, high and interior must have ", shape.size(),
                             " entries each, one per dim");
  SmallVector<int64_t> out;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (low[i] < 0 || high[i] < 0 || interior[i] < 0)
      return emitOptionalError(loc, "padding of dim ", i, " must not be negative");
    out.push_back(low[i] + high[i] + shape[i] + std::max<int64_t>(0, shape[i] - 1) * interior[i]);
  }
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(ConcatOp) {
  ADAPT(ConcatOp);
  if (op.getInputs().empty())
    return emitOptionalError(loc, "needs at least one input");
  Value first = op.getInputs().front();
  SmallVector<int64_t> out(shapeOf(first));
  int64_t dim = op.getDim();
  if (dim < 0 || dim >= (int64_t)out.size())
    return emitOptionalError(loc, "dim ", dim, " must lie in 0..", (int64_t)out.size() - 1);
  for (Value v : op.getInputs().drop_front()) {
    auto shape = shapeOf(v);
    bool same = shape.size() == out.size() && elementOf(v) == elementOf(first);
    for (size_t i = 0; same && i < out.size(); ++i)
      same = (int64_t)i == dim || shape[i] == out[i];
    if (!same)
      return emitOptionalError(loc, "input ", v.getType(), " does not join ", first.getType(),
                               " along dim ", dim);
    out[dim] += shape[dim];
  }
  types.push_back(withShape(first, out));
  return success();
}

INFER(ReverseOp) {
  ADAPT(ReverseOp);
  if (failed(checkDims(loc, op.getDims(), shapeOf(op.getInput()).size(), "dims")))
    return failure();
  types.push_back(op.getInput().getType());
  return success();
}

LogicalResult IotaOp::verify() {
  int64_t rank = cast<RankedTensorType>(getType()).getRank();
  int64_t dim = getDim();
  if (dim < 0 || dim >= rank)
    return emitOpError("dim ") << dim << " must lie in 0.." << rank - 1;
  return success();
}

INFER(GatherOp) {
  ADAPT(GatherOp);
  auto table = shapeOf(op.getTable());
  if (table.empty())
    return emitOptionalError(loc, "table must have rank 1 or more");
  SmallVector<int64_t> out(shapeOf(op.getIndices()));
  llvm::append_range(out, table.drop_front());
  types.push_back(withShape(op.getTable(), out));
  return success();
}

INFER(ScatterOp) {
  ADAPT(ScatterOp);
  auto base = shapeOf(op.getBase());
  if (base.empty())
    return emitOptionalError(loc, "base must have rank 1 or more");
  SmallVector<int64_t> want(shapeOf(op.getIndices()));
  llvm::append_range(want, base.drop_front());
  if (op.getUpdates().getType() != withShape(op.getBase(), want))
    return emitOptionalError(loc, "updates of type ", op.getUpdates().getType(), " must be ",
                             withShape(op.getBase(), want));
  types.push_back(op.getBase().getType());
  return success();
}

INFER(GatherElementsOp) {
  ADAPT(GatherElementsOp);
  auto in = shapeOf(op.getInput()), idx = shapeOf(op.getIndices());
  int64_t axis = op.getAxis();
  if (in.size() != idx.size() || axis < 0 || axis >= (int64_t)in.size())
    return emitOptionalError(loc, "indices of rank ", idx.size(), " and axis ", axis,
                             " do not fit an input of rank ", in.size());
  for (size_t i = 0; i < in.size(); ++i)
    if ((int64_t)i != axis && idx[i] > in[i])
      return emitOptionalError(loc, "indices dim ", i, " of size ", idx[i],
                               " exceeds the input's size ", in[i]);
  types.push_back(withShape(op.getInput(), idx));
  return success();
}

INFER(ScatterElementsOp) {
  ADAPT(ScatterElementsOp);
  auto idx = shapeOf(op.getIndices());
  int64_t axis = op.getAxis(), rank = shapeOf(op.getBase()).size();
  if (op.getUpdates().getType() != withShape(op.getBase(), idx))
    return emitOptionalError(loc, "updates of type ", op.getUpdates().getType(), " must be ",
                             withShape(op.getBase(), idx));
  if ((int64_t)idx.size() != rank || axis < 0 || axis >= rank)
    return emitOptionalError(loc, "indices of rank ", idx.size(), " and axis ", axis,
                             " do not fit a base of rank ", rank);
  for (auto [i, size] : llvm::enumerate(idx))
    if ((int64_t)i != axis && size > shapeOf(op.getBase())[i])
      return emitOptionalError(loc, "indices dim ", i, " of size ", size,
                               " exceeds the base's size ", shapeOf(op.getBase())[i]);
  types.push_back(op.getBase().getType());
  return success();
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

INFER(MatmulOp) {
  ADAPT(MatmulOp);
  auto l = shapeOf(op.getLhs()), r = shapeOf(op.getRhs());
  if (l.size() < 2 || r.size() < 2)
    return emitOptionalError(loc, "both sides must have rank 2 or more");
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(loc, "element types ", elementOf(op.getLhs()), " and ",
                             elementOf(op.getRhs()), " must be equal");
  bool linear = r.size() == 2;
  if (!linear && l.drop_back(2) != r.drop_back(2))
    return emitOptionalError(loc, "batch dims ", str(l.drop_back(2)), " and ",
                             str(r.drop_back(2)), " must be equal");
  if (linear && l.size() > 2 && op.getTransposeLhs())
    return emitOptionalError(loc, "transpose_lhs with a rank-2 rhs wants a rank-2 lhs, not rank ",
                             l.size());
  int64_t m = l[l.size() - 2], k = l.back(), k2 = r[r.size() - 2], n = r.back();
  if (op.getTransposeLhs())
    std::swap(m, k);
  if (op.getTransposeRhs())
    std::swap(k2, n);
  if (k != k2)
    return emitOptionalError(loc, "inner sizes ", k, " and ", k2, " must be equal");
  SmallVector<int64_t> out(l.drop_back(2));
  out.append({m, n});
  types.push_back(withShape(op.getLhs(), out));
  return success();
}

INFER(ReduceOp) {
  ADAPT(ReduceOp);
  auto shape = shapeOf(op.getInput());
  if (failed(checkDims(loc, op.getDims(), shape.size(), "dims")))
    return failure();
  SmallVector<int64_t> out;
  for (auto [i, d] : llvm::enumerate(shape))
    if (!llvm::is_contained(op.getDims(), (int64_t)i))
      out.push_back(d);
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(TopKOp) {
  ADAPT(TopKOp);
  SmallVector<int64_t> out(shapeOf(op.getInput()));
  int64_t k = op.getK();
  if (out.empty() || k < 1 || k > out.back())
    return emitOptionalError(loc, "k = ", k, " must lie in 1..", out.empty() ? 0 : out.back(),
                             ", the size of the last dim");
  out.back() = k;
  types.push_back(withShape(op.getInput(), out));
  types.push_back(RankedTensorType::get(out, IntegerType::get(ctx, 64)));
  return success();
}

INFER(CumsumOp) {
  ADAPT(CumsumOp);
  int64_t axis = op.getAxis(), rank = shapeOf(op.getInput()).size();
  if (axis < 0 || axis >= rank)
    return emitOptionalError(loc, "axis ", axis, " must lie in 0..", rank - 1);
  types.push_back(op.getInput().getType());
  return success();
}
