//===- NNPasses.cpp - Passes that stay inside the nn dialect -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNPasses.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace moire::nn {
#define GEN_PASS_DEF_NNDECOMPOSE
#include "dialects/nn/NNPasses.h.inc"
} // namespace moire::nn

namespace {
struct NNDecompose : moire::nn::impl::NNDecomposeBase<NNDecompose> {
  using NNDecomposeBase::NNDecomposeBase;

  void runOnOperation() override {
    getOperation()->walk([&](moire::nn::DecomposableOpInterface op) {
      if (!only.empty() && !llvm::is_contained(only, op->getName().getStringRef()))
        return;
      OpBuilder builder(op);
      SmallVector<Value> parts = moire::nn::decompose(op, builder);
      for (auto [result, part] : llvm::zip_equal(op->getResults(), parts))
        if (part)
          result.replaceAllUsesWith(part);
      op->erase();
    });
  }
};
} // namespace
