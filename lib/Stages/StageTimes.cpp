//===- StageTimes.cpp - How long a stage takes ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageTimes.h"

using namespace mlir;
using namespace moire;

/// All of a function's time one after another, and what of it a network spends.
static std::pair<double, double> timesOf(func::FuncOp func, const overlap::Rates &rates) {
  std::pair<double, double> sum = {0, 0};
  if (!func)
    return sum;
  auto add = [&](Operation &op) {
    const bool moves = dist::isCollective(&op);
    const double t =
        moves ? overlap::transferSeconds(&op, rates) : overlap::secondsOf(&op, rates);
    sum.first += t;
    sum.second += moves ? t : 0;
  };
  for (Operation &op : func.getBody().front()) {
    if (auto async = dyn_cast<dist::AsyncOp>(op))
      llvm::for_each(async.getBody().front(), add);
    else
      add(op);
  }
  return sum;
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
