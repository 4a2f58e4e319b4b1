//===- DataUtil.h - A program that reads tokens ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_DATAUTIL_H
#define MOIRE_RUNTIME_DATAUTIL_H

#include "FileUtil.h"
#include "TestUtil.h"
#include "train/data.h"

namespace moire::rt::test {

/// tokens, mask, positions, labels, scale; vocabulary 300.
struct LanguageModel {
  int64_t shape[2];
  InputInfo inputs[5] = {{"input_ids", DType::i64, 2, shape, Role::tokens, 0},
                         {"attention_mask", DType::i1, 2, shape, Role::attentionMask, 1},
                         {"position_ids", DType::i64, 2, shape, Role::positionIds, 2},
                         {"labels", DType::i64, 2, shape, Role::labels, -1},
                         {"scale", DType::f32, 0, nullptr, Role::scale, -1}};
  Program p = {};
  explicit LanguageModel(int64_t batch = 2, int64_t seq = 4) : shape{batch, seq} {
    p.name = "language model";
    p.batch = batch;
    p.seq = seq;
    p.vocab = p.tokenVocab = 300;
    p.inputs = inputs;
    p.numInputs = 5;
  }
};

inline std::vector<int64_t> ints(const MicroBatch &b, int input, int64_t n) {
  const auto *p = b.blocks[input].as<int64_t>();
  return std::vector<int64_t>(p, p + n);
}

/// The error of opening and reading one step.
inline std::string errorOf(const DataOptions &options, const Program &p, int64_t accumulate = 1) {
  try {
    auto data = openData(options, p, accumulate);
    MicroBatch b(p);
    for (int64_t i = 0; i < accumulate; ++i)
      data->read(0, i, b);
  } catch (const InputError &e) {
    return e.what();
  }
  return "";
}
inline std::string errorOf(const std::string &path, const Program &p, int64_t accumulate = 1) {
  return errorOf(DataOptions{path, {}, false, 0}, p, accumulate);
}
inline std::unique_ptr<DataSource> dataOf(const std::string &path, const Program &p,
                                          int64_t accumulate = 1, uint64_t seed = 0) {
  return openData({path, {}, false, seed}, p, accumulate);
}

} // namespace moire::rt::test

#endif
