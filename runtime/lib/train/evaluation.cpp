//===- evaluation.cpp - What the loss is measured on ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/evaluation.h"

#include <algorithm>

namespace moire::rt {

namespace {
/// Of the labels that may be -100; -1: there are none, or another number is a target, too.
int64_t labelsOf(const Program &p) {
  if (p.count == Count::none)
    return -1;
  for (int64_t i = 0; i < p.numInputs; ++i)
    if (p.inputs[i].role == Role::labels && p.inputs[i].dtype == DType::i64)
      return i;
  return -1;
}
} // namespace

EvaluationSet::EvaluationSet(const Options &o, const Program &p, int64_t most, int64_t shard,
                             int64_t shards)
    : program(p), shard(shard), shards(shards),
      // Runs of different --seed are compared by their losses on the same rows.
      source(openData({o.eval, {}, o.data.keepDocuments, /*seed=*/0}, p, o.accumulate, shards)),
      count(source->rowsOfEpoch()) {
  for (int64_t i = 0; i < most; ++i)
    batches.emplace_back(p);
  if (o.evalRows > 0)
    count = std::min(count, o.evalRows);
  const int64_t atOnce = most * shards * p.batch;
  if (labelsOf(p) >= 0)
    return;
  if (count < atOnce)
    throw InputError("--eval '" + o.eval + "' gives " + std::to_string(count) +
                     " rows, and a model whose labels cannot be left out reads " +
                     std::to_string(atOnce) + " at once; use so many or more");
  count = count / atOnce * atOnce;
}

const MicroBatch *EvaluationSet::read(int64_t rowsBefore, int64_t micros) {
  for (int64_t a = 0; a < micros; ++a) {
    const int64_t micro = a * shards + shard;
    source->read(rowsBefore, micro, batches[a]);
    leaveOut(rowsBefore + micro * program.batch, batches[a]);
  }
  return batches.data();
}

void EvaluationSet::leaveOut(int64_t first, MicroBatch &batch) const {
  const int64_t left = count - first;
  if (left >= program.batch)
    return;
  const int64_t input = labelsOf(program), n = elements(program.inputs[input]);
  int64_t *labels = batch.blocks[input].as<int64_t>();
  std::fill(labels + std::max<int64_t>(0, left) * (n / program.batch), labels + n, -100);
  batch.counted = countLabels(program, batch);
}

} // namespace moire::rt
