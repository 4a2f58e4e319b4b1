//===- TensorVocabulary.cpp - Tables and losses over shards of tokens ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorRules.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

/// A table of which each rank holds consecutive rows.
static bool isSplitByRows(const Shard &table) {
  return table.isSplit(0) && table.blocks.size() == 1;
}

static void assignGather(nn::GatherOp op, Given given, Assignment &out) {
  const Shard &table = given[0];
  if (isSplitByRows(table)) {
    // Each token's row comes from the one rank that holds it, zeros from the others.
    out.operands[0] = table;
    out.results[0] = Shard::unreduced();
  } else if (table.isSplit() && table.dim > 0) {
    out.operands[0] = table;
    out.results[0] = table.at(table.dim - 1 + sizes(op.getIndices()).size());
  }
}

static void assignScatter(const TensorRules &rules, nn::ScatterOp op, Given given,
                          Assignment &out) {
  if (op.getKind() != nn::ScatterKind::add)
    return;
  const Shard wanted = rules.wanted(op.getResult()), &base = given[0], &updates = given[2];
  int64_t indexDims = sizes(op.getIndices()).size();
  if (updates.isSplit() && updates.dim >= indexDims) {
    out.operands[0] = out.results[0] = updates.at(updates.dim - indexDims + 1);
    out.operands[2] = updates;
  } else if (isSplitByRows(base))
    out.operands[0] = out.results[0] = base;
  else if (base.isWhole() && isSplitByRows(wanted))
    out.operands[0] = out.results[0] = wanted;
}

std::optional<bool> distribute::vocabularyWants(OpResult result, const Shard &s, Wishes &wishes) {
  auto op = dyn_cast<nn::GatherOp>(result.getOwner());
  if (!op)
    return std::nullopt;
  int64_t indexDims = sizes(op.getIndices()).size();
  if (s.dim < indexDims)
    return false;
  wishes.push_back({op.getTable(), s.at(s.dim - indexDims + 1)});
  return true;
}

bool distribute::assignVocabulary(const TensorRules &rules, Operation *op, Given given,
                                  Assignment &out) {
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](nn::GatherOp op) { return assignGather(op, given, out), true; })
      .Case([&](nn::ScatterOp op) { return assignScatter(rules, op, given, out), true; })
      .Case([&](nn::CrossEntropyOp) {
        if (given[0].isSplit(1) && given[0].blocks.size() == 1) {
          out.operands[0] = given[0];
          out.results[0] = Shard::unreduced(); // a label lies in one shard
        }
        return true;
      })
      .Case([&](nn::CrossEntropyGradOp) {
        if (given[0].isSplit(1) && given[0].blocks.size() == 1)
          out.operands[0] = out.results[0] = given[0];
        return true;
      })
      .Default([](Operation *) { return false; });
}
