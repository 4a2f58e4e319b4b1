//===- Balance.cpp - How full experts are --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/nn/NNBalance.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::interp;
namespace nn = moire::nn;

static LogicalResult run(Call &call, nn::ChoiceCountsOp op) {
  Tensor result(call.resultType());
  const int64_t k = result.shape()[0], experts = result.shape()[1];
  auto counts = result.edit<double>();
  for (auto [pair, id] : llvm::enumerate(call.in(0).ints()))
    if (id >= 0 && id < experts)
      ++counts[pair % k * experts + id];
  call.yield(std::move(result));
  return success();
}

/// Whether pair (shard, token, choice) comes before another one is a matter of
/// order, so all pairs of the micro-batch are walked in it; those of other shards
/// by their counts.
static LogicalResult run(Call &call, nn::CapacityOp op) {
  Tensor result(call.resultType());
  auto ids = call.in(0).ints();
  auto counts = call.in(1).floats();
  const int64_t here = call.in(2).ints()[0], slots = op.getSlots();
  auto shape = call.in(1).shape();
  const int64_t shards = shape[0], k = shape[1], experts = shape[2], tokens = ids.size() / k;
  if (here < 0 || here >= shards)
    return call.error("is shard " + Twine(here) + " of " + Twine(shards));
  std::vector<double> taken(experts, 0);
  auto kept = result.edit<int64_t>();
  auto takeMine = [&](int64_t pair) {
    const int64_t id = ids[pair];
    kept[pair] = id >= 0 && id < experts && taken[id]++ < static_cast<double>(slots) ? id : -1;
  };
  auto takeOthers = [&](int64_t shard, int64_t choice) {
    for (int64_t e = 0; e < experts; ++e)
      taken[e] += counts[(shard * k + choice) * experts + e];
  };
  if (op.getChoicesFirst()) {
    for (int64_t choice = 0; choice < k; ++choice)
      for (int64_t shard = 0; shard < shards; ++shard)
        if (shard != here)
          takeOthers(shard, choice);
        else
          for (int64_t token = 0; token < tokens; ++token)
            takeMine(token * k + choice);
  } else {
    for (int64_t shard = 0; shard < here; ++shard)
      for (int64_t choice = 0; choice < k; ++choice)
        takeOthers(shard, choice);
    for (int64_t pair = 0; pair < (int64_t)ids.size(); ++pair)
      takeMine(pair);
  }
  call.yield(std::move(result));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateBalance(Call &call) {
  using Done = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Done>(call.op)
      .Case<nn::ChoiceCountsOp, nn::CapacityOp>([&](auto op) -> Done { return run(call, op); })
      .Default(Done());
}
