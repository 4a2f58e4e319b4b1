//===- Passes.h - From a model to its training step ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TRAIN_PASSES_H
#define MOIRE_TRAIN_PASSES_H

#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include <string>
#include <vector>

namespace moire::train {

#define GEN_PASS_DECL
#include "lib/Train/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Train/Passes.h.inc"

/// What a user asks of the train phase; moirec's flags of the same names.
struct TrainOptions {
  std::string loss = "auto";
  std::vector<std::string> aux;
  double auxLoss = 0, zLoss = 0; ///< weights of the routers' losses; 0: none
  double routerBiasRate = 0;     ///< 0: routers' biases stay
  double capacityFactor = 0;     ///< 0: experts take every pair
  std::string dropOrder = "gshard";
  std::string freeze; ///< empty: nothing is frozen
  std::string groups; ///< "NAME=REGEX,…"; empty: every step trains every parameter
  std::string optimizer = "adamw";
  std::string precision = "f32"; ///< a policy of lib/Train/Precision.cpp
  std::vector<std::string> precisionOverrides; ///< "REGEX=POLICY"
};

/// @forward over pipe.parameters ~~> @micro_step and @optimizer_step.
void buildTrainPipeline(mlir::OpPassManager &passes, const TrainOptions &options);

} // namespace moire::train

#endif // MOIRE_TRAIN_PASSES_H
