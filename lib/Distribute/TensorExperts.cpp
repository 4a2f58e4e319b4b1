//===- TensorExperts.cpp - Splits through mixtures of experts ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

/// Rows [R, K] times weights [E, K, N], or [E, N, K].
static void assignGrouped(nn::GroupedMatmulOp op, Given given, Assignment &out) {
  int64_t inner = op.getTransposeWeight() ? 2 : 1, columns = 3 - inner;
  const Shard &rows = given[0], &weight = given[1];
  if (weight.isSplit(columns)) {
    out.operands[1] = weight;
    out.results[0] = weight.at(1);
  } else if (rows.isSplit(1) || weight.isSplit(inner)) {
    const Shard &split = rows.isSplit(1) ? rows : weight;
    out.operands[0] = split.at(1);
    out.operands[1] = split.at(inner);
    out.results[0] = Shard::unreduced();
  }
}

bool distribute::assignExperts(const TensorRules &, Operation *op, Given given, Assignment &out) {
  auto same = [&](int64_t operand) { out.operands[operand] = out.results[0] = given[operand]; };
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](nn::GroupedMatmulOp op) { return assignGrouped(op, given, out), true; })
      .Case([&](nn::GroupedMatmulGradWeightOp) {
        // [R, K] and [R, N] -> [E, K, N].
        if (given[0].isSplit(1)) {
          out.operands[0] = given[0];
          out.results[0] = given[0].at(1);
        } else if (given[1].isSplit(1)) {
          out.operands[1] = given[1];
          out.results[0] = given[1].at(2);
        }
        return true;
      })
      .Case<nn::PerExpertOp, nn::DispatchOp>([&](auto) {
        if (given[0].isSplit(1))
          same(0);
        return true;
      })
      .Case<nn::PerExpertSumOp, nn::CombineOp>([&](auto) {
        // Sums of rows: k times fewer afterwards, so the sum over the ranks waits.
        if (given[0].isSplit(1) || given[0].isUnreduced())
          same(0);
        return true;
      })
      .Case([&](nn::CombineGradOp) {
        // d_rows = weights * cotangent, d_weights = <cotangent, rows> over the last dim.
        const Shard &rows = given[0], &cotangent = given[2];
        if (rows.isSplit(1) || cotangent.isSplit(1)) {
          const Shard &split = rows.isSplit(1) ? rows : cotangent;
          out.operands[0] = out.operands[2] = out.results[0] = split;
          out.results[1] = Shard::unreduced();
        } else if (rows.isUnreduced()) {
          out.operands[0] = out.results[1] = rows;
        }
        return true;
      })
      .Default([](Operation *) { return false; });
}

std::optional<bool> distribute::expertWants(OpResult result, const Shard &s, Wishes &wishes) {
  if (s.dim != 1)
    return std::nullopt;
  return TypeSwitch<Operation *, std::optional<bool>>(result.getOwner())
      .Case([&](nn::GroupedMatmulOp op) {
        wishes.push_back({op.getWeight(), s.at(op.getTransposeWeight() ? 1 : 2)});
        return true;
      })
      .Case<nn::PerExpertOp>([&](auto op) {
        wishes.push_back({op.getValues(), s});
        return true;
      })
      .Default([](Operation *) { return std::nullopt; });
}
