//===- StageTimes.cpp - How long a stage takes ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageTimes.h"
#include "moire/Overlap/Predict.h"

using namespace mlir;
using namespace moire;

static std::pair<double, double> timesOf(func::FuncOp func, const overlap::Rates &rates) {
  return func ? overlap::oneAfterAnother(func.getBody().front(), rates)
              : std::pair<double, double>();
}

scheduling::StageCost stages::timesOf(func::FuncOp forward, func::FuncOp backward,
                                      func::FuncOp backwardInput, func::FuncOp backwardWeight,
                                      const overlap::Rates &rates) {
  scheduling::StageCost cost;
  std::tie(cost.forward, cost.forwardCollective) = ::timesOf(forward, rates);
  std::tie(cost.backward, cost.backwardCollective) = ::timesOf(backward, rates);
  cost.backwardInput = ::timesOf(backwardInput, rates).first;
  cost.backwardWeight = ::timesOf(backwardWeight, rates).first;
  cost.backwardCollective = std::min({cost.backwardCollective, cost.backward, cost.backwardInput});
  return cost;
}
