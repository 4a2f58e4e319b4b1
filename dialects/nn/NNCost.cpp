//===- NNCost.cpp - Arithmetic of the nn ops -----------------------------===//
//
// Only what a GEMM or an attention kernel does is counted: the elementwise
// rest is bound by memory.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/nn/NNTypes.h"

using namespace mlir;
using namespace moire::nn;

int64_t MatmulOp::flops() {
  auto lhs = typeOf(getLhs()).getShape();
  int64_t inner = lhs[lhs.size() - (getTransposeLhs() ? 2 : 1)];
  return 2 * typeOf(getResult()).getNumElements() * inner;
}

/// One product over the score matrix, per unit of head width. Causal attention
/// is counted whole, as the field does.
template <typename OpTy>
static int64_t scores(OpTy op) {
  auto q = typeOf(op.getQuery()).getShape();
  return 2 * q[0] * q[1] * q[2] * typeOf(op.getKey()).getDimSize(2);
}

// q k^T is as wide as the keys, p v as the values.
int64_t AttentionOp::flops() {
  return scores(*this) *
         (typeOf(getQuery()).getDimSize(3) + typeOf(getValue()).getDimSize(3));
}

// q k^T again, dq, dk of the keys' width; dp = do v^T and dv of the values'.
int64_t AttentionGradOp::flops() {
  return scores(*this) * (3 * typeOf(getQuery()).getDimSize(3) +
                          2 * typeOf(getValue()).getDimSize(3));
}

int64_t GroupedMatmulOp::flops() {
  return 2 * typeOf(getResult()).getNumElements() * typeOf(getRows()).getDimSize(1);
}

int64_t GroupedMatmulGradWeightOp::flops() {
  return 2 * getRouting().getType().getRows() * typeOf(getLhs()).getDimSize(1) *
         typeOf(getRhs()).getDimSize(1);
}
