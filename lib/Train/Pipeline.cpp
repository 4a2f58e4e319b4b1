//===- Pipeline.cpp - The passes of the train phase, in order ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace moire;

void train::buildTrainPipeline(OpPassManager &passes, const TrainOptions &options) {
  if (!options.freeze.empty())
    passes.addPass(createTrainFreeze({options.freeze}));
  TrainLossOptions loss;
  loss.loss = options.loss;
  loss.aux = options.aux;
  loss.auxLoss = options.auxLoss;
  loss.zLoss = options.zLoss;
  passes.addPass(createTrainLoss(std::move(loss)));
  // The other outputs are dead now; what they alone needed is not differentiated.
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
  bool mixed = options.precision != "f32" || !options.precisionOverrides.empty();
  if (mixed) {
    MixedPrecisionOptions precision;
    precision.policy = options.precision;
    precision.overrides = options.precisionOverrides;
    passes.addPass(createMixedPrecision(std::move(precision)));
    passes.addNestedPass<func::FuncOp>(createCSEPass());
  }
  passes.addPass(createTrainAutodiff());
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createTrainCleanUp());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
  if (mixed)
    passes.addNestedPass<func::FuncOp>(createTrainCasts());
  passes.addPass(createTrainOptimizer({options.optimizer}));
  if (options.capacityFactor != 0)
    passes.addPass(createTrainCapacity({options.capacityFactor, options.dropOrder}));
  if (options.routerBiasRate != 0)
    passes.addPass(createTrainRouterBias({options.routerBiasRate}));
  if (!options.groups.empty()) // where it is known what is frozen
    passes.addPass(createTrainGroups({options.groups}));
  // Last, because CSE would merge what this repeats with the original again.
  passes.addNestedPass<func::FuncOp>(createTrainRecompute());
  passes.addPass(createTrainCountFlops());
}
