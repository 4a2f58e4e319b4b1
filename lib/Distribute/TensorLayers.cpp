//===- TensorLayers.cpp - Splits through norms, rope and attention -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

constexpr int64_t kHeads = 1; // the dim of heads in attention, rope and their statistics

/// A root mean square over a last dim that is split needs one number a row from the
/// other ranks; scale and its cotangent are split alike.
static void assignRowPieces(Operation *op, Given given, Assignment &out) {
  int64_t last = (int64_t)sizes(op->getOperand(0)).size() - 1;
  const Shard &input = given[0];
  if (!input.isSplit(last) || last == 0)
    return;
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    out.operands[i] = sizes(operand).size() == 1 ? input.at(0) : input;
  for (auto [i, result] : llvm::enumerate(op->getResults()))
    out.results[i] = i == 0 ? input : input.at(0);
}

/// Norms over the last dim: what splits another dim passes; the scale's and the bias's
/// cotangents are sums over rows that the ranks share.
static void assignNorm(Operation *op, Value input, Given given, Assignment &out) {
  int64_t last = (int64_t)sizes(input).size() - 1;
  const Shard *split = nullptr;
  for (auto [operand, shard] : llvm::zip_equal(op->getOperands(), given))
    if (!split && sizes(operand) == sizes(input) && shard.isSplit() && shard.dim != last)
      split = &shard;
  if (!split)
    return;
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (sizes(operand) == sizes(input))
      out.operands[i] = *split;
  out.results.assign(op->getNumResults(), Shard::unreduced());
  out.results[0] = *split;
}

/// Every head is computed by itself, so ranks share heads. All operands but the mask,
/// and all results, have heads in dim 1. A rank's query heads are those that use its
/// key heads, as both are cut in order.
static void assignHeads(Operation *op, Value mask, Given given, Assignment &out) {
  bool split = false;
  for (auto [operand, shard] : llvm::zip_equal(op->getOperands(), given))
    split |= operand != mask && shard.isSplit(kHeads) && shard.blocks.size() == 1;
  if (!split)
    return;
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (sizes(operand)[kHeads] != 1 || operand != mask)
      out.operands[i] = Shard::split(operand.getType(), kHeads);
  for (auto [shard, result] : llvm::zip_equal(out.results, op->getResults()))
    shard = Shard::split(result.getType(), kHeads);
}

bool distribute::assignLayers(const TensorRules &, Operation *op, Given given, Assignment &out) {
  return TypeSwitch<Operation *, bool>(op)
      .Case<nn::RMSNormOp, nn::LayerNormOp, nn::RMSNormGradOp, nn::LayerNormGradOp>([&](auto norm) {
        assignNorm(op, norm.getInput(), given, out);
        if (isa<nn::RMSNormOp, nn::RMSNormGradOp>(op))
          assignRowPieces(op, given, out);
        return true;
      })
      .Case<nn::AttentionOp, nn::AttentionGradOp>(
          [&](auto attention) { return assignHeads(op, attention.getMask(), given, out), true; })
      .Case([&](nn::RopeOp) {
        if (given[0].isSplit(kHeads))
          out.operands[0] = out.results[0] = given[0];
        return true;
      })
      .Default([](Operation *) { return false; });
}

std::optional<bool> distribute::layerWants(OpResult result, const Shard &s, Wishes &wishes) {
  auto same = [&](Value value) {
    wishes.push_back({value, s});
    return true;
  };
  return TypeSwitch<Operation *, std::optional<bool>>(result.getOwner())
      .Case<nn::RMSNormOp, nn::LayerNormOp>([&](auto op) {
        if (s.dim + 1 < (int64_t)sizes(op.getInput()).size())
          return same(op.getInput());
        if (!isa<nn::RMSNormOp>(op) || s.dim == 0)
          return false;
        if (op.getScale())
          wishes.push_back({op.getScale(), s.at(0)});
        return same(op.getInput());
      })
      .Case([&](nn::RopeOp op) { return s.dim == kHeads && same(op.getInput()); })
      .Case([&](nn::AttentionOp op) {
        if (s.dim != kHeads || s.blocks.size() != 1)
          return false;
        for (Value operand : {op.getQuery(), op.getKey(), op.getValue()})
          wishes.push_back({operand, Shard::split(operand.getType(), kHeads)});
        if (op.getMask() && sizes(op.getMask())[kHeads] != 1)
          wishes.push_back({op.getMask(), Shard::split(op.getMask().getType(), kHeads)});
        return true;
      })
      .Default([](Operation *) { return std::nullopt; });
}
