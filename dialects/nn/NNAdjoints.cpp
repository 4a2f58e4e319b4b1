//===- NNAdjoints.cpp - Reverse-mode derivatives of the nn ops ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire::nn;

SmallVector<Value> ReshapeOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> TransposeOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> BroadcastOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> SliceOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> PadOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> ConcatOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> ReverseOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> GatherOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> ScatterOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> GatherElementsOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> ScatterElementsOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> MatmulOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> ReduceOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> TopKOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> CumsumOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> SigmoidOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> SoftmaxOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> LayerNormOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> RMSNormOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> RopeOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> AttentionOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> CrossEntropyOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> RouterOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> DispatchOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> CombineOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> GroupedMatmulOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> PerExpertOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
SmallVector<Value> PerExpertSumOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) { return {}; }
