//===- data.cpp - What all data sources share -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/data.h"
#include "moire/rt/pipeline.h"
#include "train/convert.h"
#include "train/data_names.h"
#include "train/sources.h"

#include <sys/stat.h>

namespace moire::rt {

int64_t elements(const InputInfo &input) {
  int64_t n = 1;
  for (int64_t i = 0; i < input.rank; ++i)
    n *= input.shape[i];
  return n;
}

int64_t mostBytesOfInput(const std::vector<const Program *> &lengths, int64_t i) {
  int64_t most = 0;
  for (const Program *length : lengths)
    most = std::max(most, elements(length->inputs[i]) * bytesOf(length->inputs[i].dtype));
  return most;
}

MicroBatch::MicroBatch(const Program &p) : program(&p), blocks(new Block[p.numInputs]) {
  for (int64_t i = 0; i < p.numInputs; ++i)
    if (p.inputs[i].role != Role::scale)
      blocks[i] = Block(std::max<int64_t>(64, elements(p.inputs[i]) * bytesOf(p.inputs[i].dtype)));
}

namespace {
template <typename T> void fillWith(const InputInfo &input, T *to) {
  const int64_t n = elements(input);
  const int64_t seq = input.rank ? input.shape[input.rank - 1] : 1;
  for (int64_t i = 0; i < n; ++i) {
    if (input.role == Role::positionIds)
      to[i] = static_cast<T>(i % seq);
    else
      to[i] = static_cast<T>(input.role == Role::attentionMask);
  }
}
} // namespace

bool fillDefault(const InputInfo &input, void *to) {
  if (input.role != Role::attentionMask && input.role != Role::positionIds &&
      input.role != Role::tokenTypeIds)
    return false;
  switch (input.dtype) {
  case DType::i64:
    fillWith(input, static_cast<int64_t *>(to));
    return true;
  case DType::i32:
    fillWith(input, static_cast<int32_t *>(to));
    return true;
  case DType::f32:
    fillWith(input, static_cast<float *>(to));
    return true;
  case DType::i1:
    fillWith(input, static_cast<uint8_t *>(to));
    return true;
  case DType::f64:
    fillWith(input, static_cast<double *>(to));
    return true;
  default:
    return false;
  }
}

int64_t countLabels(const Program &p, const MicroBatch &batch) {
  if (p.count == Count::none)
    return 1;
  for (int64_t i = 0; i < p.numInputs; ++i) {
    const InputInfo &in = p.inputs[i];
    if (in.role != Role::labels)
      continue;
    if (in.dtype != DType::i64)
      return elements(in);
    const auto *labels = batch.blocks[i].as<int64_t>();
    const int64_t row = in.rank > 1 ? in.shape[in.rank - 1] : 1;
    int64_t n = 0;
    for (int64_t j = 0; j < elements(in); ++j)
      n += labels[j] != -100 && !(p.count == Count::skipFirst && j % row == 0);
    return n;
  }
  return 1;
}

void checkLabels(const Program &p, const InputInfo &input, const int64_t *labels, int64_t n,
                 const std::string &where) {
  if (p.vocab <= 0)
    return;
  const int64_t row = input.rank > 1 ? elements(input) / input.shape[0] : 1;
  for (int64_t i = 0; i < n; ++i) {
    if (labels[i] == -100 || (labels[i] >= 0 && labels[i] < p.vocab))
      continue;
    std::string at = "row " + std::to_string(i / row);
    if (input.rank > 1)
      at += ", position " + std::to_string(i % row);
    throw InputError("label " + std::to_string(labels[i]) + " at " + at + " of '" + where +
                     "' is outside the model's " + std::to_string(p.vocab) + " classes; use 0.." +
                     std::to_string(p.vocab - 1) + ", or -100 for a label that does not count");
  }
}

void checkMixOfSteps(const DataOptions &options, int64_t steps, int64_t rows, int64_t own) {
  for (const std::string &change : options.mix)
    if (rows != own && !countsRows(change))
      throw InputError("--mix '" + change + "' counts steps, " + std::to_string(steps) +
                       " steps were " + std::to_string(rows) + " rows and are " +
                       std::to_string(own) +
                       " now; use as many rows a step, or @ROWSrows in "
                       "--mix");
}

std::unique_ptr<DataSource> openData(const DataOptions &o, const Program &p, int64_t rounds,
                                     int64_t shards) {
  struct stat st;
  if (stat(o.path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    return openTokens(o, p, rounds, shards);
  if (!o.mix.empty() || o.keepDocuments)
    throw InputError(std::string(o.keepDocuments ? "--documents keep" : "--mix") +
                     " is for token files, and '" + o.path + "' is a folder; leave it out");
  if (!o.curriculum.empty())
    throw InputError("--curriculum is for token files, and '" + o.path +
                     "' is a folder, whose rows have one length; leave it out");
  if (isFolderOfFolders(o.path))
    return openFolders(o.path, p, o.seed);
  return openFolder(o.path, p, rounds, shards);
}

} // namespace moire::rt
