//===- Experts.cpp - Mixture-of-experts ops ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::interp;
namespace nn = moire::nn;

static LogicalResult run(Call &call, nn::RouteOp op) {
  nn::RoutingType type = op.getRouting().getType();
  auto ids = call.in(0).ints();
  auto routing = std::make_shared<Routing>();
  routing->tokens = type.getTokens();
  routing->k = type.getK();
  routing->experts = type.getExperts();
  routing->rowOfPair.resize(type.getRows(), -1);
  for (auto [pair, id] : llvm::enumerate(ids))
    if (id != -1 && (id < 0 || id >= type.getExperts()))
      return call.error("has expert id " + Twine(id) + " at position " + Twine(pair) +
                        ", which must lie in 0.." + Twine(type.getExperts() - 1));
  for (int64_t expert = 0; expert < type.getExperts(); ++expert) {
    routing->offsets.push_back(routing->pairOfRow.size());
    for (auto [pair, id] : llvm::enumerate(ids)) {
      if (id != expert)
        continue;
      routing->rowOfPair[pair] = routing->pairOfRow.size();
      routing->pairOfRow.push_back(pair);
      routing->expertOfRow.push_back(expert);
    }
  }
  routing->offsets.push_back(routing->pairOfRow.size());
  call.results.push_back(std::shared_ptr<const Routing>(std::move(routing)));
  return success();
}

static LogicalResult run(Call &call, nn::DispatchOp op) {
  const Routing &routing = call.operands[1].routing();
  Tensor result(call.resultType());
  int64_t width = result.shape()[1];
  auto from = call.in(0).floats();
  double *to = result.edit<double>().data();
  for (int64_t pair : routing.pairOfRow)
    to = llvm::copy(from.slice(pair / routing.k * width, width), to);
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::CombineOp op) {
  const Routing &routing = call.operands.back().routing();
  const Tensor *weights = op.getWeights() ? &call.in(1) : nullptr;
  Tensor result(call.resultType());
  int64_t width = result.shape()[1];
  auto rows = call.in(0).floats();
  auto to = result.edit<double>();
  for (auto [pair, row] : llvm::enumerate(routing.rowOfPair)) {
    if (row < 0)
      continue;
    double weight = weights ? weights->floats()[pair] : 1;
    for (int64_t j = 0; j < width; ++j)
      to[pair / routing.k * width + j] += weight * rows[row * width + j];
  }
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::CombineGradOp op) {
  const Routing &routing = call.operands.back().routing();
  auto rows = call.in(0).floats(), weights = call.in(1).floats(), cotangent = call.in(2).floats();
  Tensor dRows(call.resultType(0)), dWeights(call.resultType(1));
  int64_t width = dRows.shape()[1];
  auto rowsTo = dRows.edit<double>(), weightsTo = dWeights.edit<double>();
  for (auto [pair, row] : llvm::enumerate(routing.rowOfPair))
    for (int64_t j = 0; row >= 0 && j < width; ++j) {
      double dy = cotangent[pair / routing.k * width + j];
      rowsTo[row * width + j] = weights[pair] * dy;
      weightsTo[pair] += dy * rows[row * width + j];
    }
  call.yield(std::move(dRows));
  call.yield(std::move(dWeights));
  return success();
}

/// Where row `row` of an operand lies, which has a row of each token where it is gathered.
static int64_t sourceOf(const Routing &routing, int64_t row, bool gathered) {
  return gathered ? routing.pairOfRow[row] / routing.k : row;
}

static LogicalResult run(Call &call, nn::GroupedMatmulOp op) {
  const Routing &routing = call.operands[2].routing();
  Tensor result(call.resultType());
  int64_t k = call.in(0).shape()[1], n = result.shape()[1];
  auto rows = call.in(0).floats(), weight = call.in(1).floats();
  auto to = result.edit<double>();
  int64_t strideK = op.getTransposeWeight() ? 1 : n, strideN = op.getTransposeWeight() ? k : 1;
  for (auto [row, expert] : llvm::enumerate(routing.expertOfRow)) {
    const int64_t from = sourceOf(routing, row, op.getGatherRows());
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += rows[from * k + p] * weight[expert * k * n + p * strideK + j * strideN];
      to[row * n + j] = sum;
    }
  }
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::GroupedMatmulGradWeightOp op) {
  const Routing &routing = call.operands[2].routing();
  Tensor result(call.resultType());
  int64_t k = result.shape()[1], n = result.shape()[2];
  auto lhs = call.in(0).floats(), rhs = call.in(1).floats();
  auto to = result.edit<double>();
  for (auto [row, expert] : llvm::enumerate(routing.expertOfRow)) {
    const int64_t left = sourceOf(routing, row, op.getGatherLhs());
    const int64_t right = sourceOf(routing, row, op.getGatherRhs());
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < n; ++j)
        to[(expert * k + p) * n + j] += lhs[left * k + p] * rhs[right * n + j];
  }
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::PerExpertOp op) {
  const Routing &routing = call.operands[1].routing();
  Tensor result(call.resultType());
  int64_t width = result.shape()[1];
  double *to = result.edit<double>().data();
  for (int64_t expert : routing.expertOfRow)
    to = llvm::copy(call.in(0).floats().slice(expert * width, width), to);
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::PerExpertSumOp op) {
  const Routing &routing = call.operands[1].routing();
  Tensor result(call.resultType());
  int64_t width = result.shape()[1];
  auto rows = call.in(0).floats();
  auto to = result.edit<double>();
  for (auto [row, expert] : llvm::enumerate(routing.expertOfRow))
    for (int64_t j = 0; j < width; ++j)
      to[expert * width + j] += rows[row * width + j];
  call.yield(std::move(result));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateExperts(Call &call) {
  using Done = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Done>(call.op)
      .Case<nn::RouteOp, nn::DispatchOp, nn::CombineOp, nn::CombineGradOp, nn::GroupedMatmulOp,
            nn::GroupedMatmulGradWeightOp, nn::PerExpertOp, nn::PerExpertSumOp>(
          [&](auto op) -> Done { return run(call, op); })
      .Default(Done());
}
