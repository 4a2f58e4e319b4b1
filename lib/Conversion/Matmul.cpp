//===- Matmul.cpp - MatMul, Gemm, convolutions that are products ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

/// numpy.matmul: vectors get a dim of 1 that is dropped again, batch dims are
/// broadcast. One matrix for all batches stays a matrix (a linear layer).
static LogicalResult convertMatMul(Node &n) {
  Emitter &e = n.e;
  Value a = n.in(0), b = n.in(1);
  if (!isFloat(a) || !isFloat(b))
    return n.fail("products of integer matrices are not supported; cast to float");
  if (n.rank(0) == 0 || n.rank(1) == 0)
    return n.fail("operands must have rank 1 or more");
  bool row = n.rank(0) == 1, column = n.rank(1) == 1;
  if (row)
    a = e.reshape(a, {1, n.shape(0)[0]});
  if (column)
    b = e.reshape(b, {n.shape(1)[0], 1});
  if (shapeOf(a).back() != shapeOf(b)[rankOf(b) - 2])
    return n.fail("inner sizes of " + str(n.shape(0)) + " and " + str(n.shape(1)) + " differ");
  auto batch = broadcastShape(shapeOf(a).drop_back(2), shapeOf(b).drop_back(2));
  if (!batch)
    return n.fail("batch dims of " + str(n.shape(0)) + " and " + str(n.shape(1)) +
                  " cannot be broadcast to each other");
  auto withBatch = [&](Value v) {
    DimVector shape(*batch);
    llvm::append_range(shape, shapeOf(v).take_back(2));
    return e.broadcastTo(v, shape);
  };
  a = withBatch(a);
  if (product(shapeOf(b).drop_back(2)) == 1)
    b = e.reshape(b, shapeOf(b).take_back(2));
  else
    b = withBatch(b);
  if (!a || !b)
    return failure();
  Value y = e.matmul(a, b);
  DimVector out(shapeOf(y));
  if (y && column)
    out.pop_back();
  if (y && row)
    out.erase(out.end() - (column ? 1 : 2));
  return n.give(e.reshape(y, out));
}

/// alpha * A' * B' + beta * C.
static LogicalResult convertGemm(Node &n) {
  Emitter &e = n.e;
  if (n.rank(0) != 2 || n.rank(1) != 2)
    return n.fail("operands must have rank 2, not " + Twine(n.rank(0)) + " and " + Twine(n.rank(1)));
  if (!isFloat(n.in(0)))
    return n.fail("products of integer matrices are not supported; cast to float");
  Value y = e.matmul(n.in(0), n.in(1), n.getInt("transA", 0), n.getInt("transB", 0));
  y = e.scale(y, n.getFloat("alpha", 1));
  if (y && n.has(2))
    y = e.add(y, e.broadcastTo(e.scale(n.in(2), n.getFloat("beta", 1)), shapeOf(y)));
  return n.give(y);
}

/// A convolution whose windows tile the image (ViT's patches, 1x1) is a matrix
/// product of the patches. All other forms are not supported yet.
static LogicalResult convertConv(Node &n) {
  Emitter &e = n.e;
  int64_t spatial = n.rank(0) - 2;
  if (spatial < 1 || n.rank(1) != n.rank(0))
    return n.fail("input " + str(n.shape(0)) + " and weight " + str(n.shape(1)) +
                  " must have one rank of 3 or more");
  Dims x = n.shape(0), w = n.shape(1), kernel = w.drop_front(2), image = x.drop_front(2);
  DimVector ones(spatial, 1), zeros(2 * spatial, 0);
  StringRef automatic = n.getString("auto_pad", "NOTSET");
  bool padded = (automatic != "NOTSET" && automatic != "VALID" && kernel != Dims(ones)) ||
                n.getInts("pads").value_or(zeros) != zeros;
  bool tiles = product(kernel) > 0 && n.getInt("group", 1) == 1 && !padded && w[1] == x[1] &&
               Dims(n.getInts("strides").value_or(ones)) == kernel &&
               Dims(n.getInts("dilations").value_or(ones)) == Dims(ones);
  if (!tiles)
    return n.fail("only windows that tile the image are supported (stride = kernel, no padding, "
                  "one group); convolutions in general are not yet");
  // [N, C, o1*k1, ...] -> [N, C, o1, k1, ...] -> [N, o..., C, k...]
  DimVector split{x[0], x[1]}, perm{0}, rows{x[0]}, cut{x[0], x[1]};
  for (int64_t i = 0; i < spatial; ++i) {
    int64_t out = image[i] / kernel[i];
    cut.push_back(out * kernel[i]);
    split.append({out, kernel[i]});
    rows.push_back(out);
    perm.push_back(2 + 2 * i);
  }
  perm.push_back(1);
  for (int64_t i = 0; i < spatial; ++i)
    perm.push_back(3 + 2 * i);
  int64_t depth = product(w.drop_front(1));
  rows.push_back(depth);
  Value patches = e.slice(n.in(0), DimVector(cut.size(), 0), cut);
  patches = e.reshape(e.transpose(e.reshape(patches, split), perm), rows);
  Value y = e.matmul(patches, e.reshape(n.in(1), {w[0], depth}), false, true);
  if (n.has(2))
    y = e.add(y, n.in(2));
  DimVector back{0, spatial + 1};
  for (int64_t i = 0; i < spatial; ++i)
    back.push_back(1 + i);
  return n.give(e.transpose(y, back));
}

void conversion::addMatmul(HandlerTable &t) {
  t.add("MatMul", 2, convertMatMul);
  t.add("Gemm", 2, convertGemm);
  t.add("Conv", 2, convertConv);
}
