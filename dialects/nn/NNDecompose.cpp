//===- NNDecompose.cpp - The meaning of composite ops in core ops ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire::nn;

SmallVector<Value> SoftmaxOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> SoftmaxGradOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> LayerNormOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> LayerNormGradOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> RMSNormOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> RMSNormGradOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> RopeOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> AttentionOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> AttentionGradOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> CrossEntropyOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> CrossEntropyGradOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> RouterOp::decompose(OpBuilder &) { return {}; }
SmallVector<Value> RouterGradOp::decompose(OpBuilder &) { return {}; }
