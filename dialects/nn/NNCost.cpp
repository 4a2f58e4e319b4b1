//===- NNCost.cpp - Arithmetic of the nn ops ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire::nn;

int64_t MatmulOp::flops() { return 0; }
int64_t AttentionOp::flops() { return 0; }
int64_t AttentionGradOp::flops() { return 0; }
int64_t GroupedMatmulOp::flops() { return 0; }
int64_t GroupedMatmulGradWeightOp::flops() { return 0; }
