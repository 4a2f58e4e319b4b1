//===- folder.cpp - A fixed batch from a folder of tensors ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/convert.h"
#include "train/mapped_file.h"
#include "train/sources.h"
#include "train/tensor_file.h"

#include <vector>

namespace moire::rt {

namespace {
std::vector<int64_t> shapeOf(const InputInfo &in) {
  return std::vector<int64_t>(in.shape, in.shape + in.rank);
}

class Folder final : public DataSource {
public:
  Folder(const std::string &path, const Program &program, int64_t accumulate, int64_t shards)
      : path(path), program(program), accumulate(accumulate), shards(shards) {
    for (int64_t i = 0; i < program.numInputs; ++i)
      whole.push_back(load(program.inputs[i]));
  }

  void read(int64_t, int64_t micro, MicroBatch &batch) override {
    for (int64_t i = 0; i < program.numInputs; ++i) {
      const InputInfo &in = program.inputs[i];
      if (in.role == Role::scale)
        continue;
      const int64_t bytes = elements(in) * bytesOf(in.dtype);
      if (whole[i].empty())
        fillDefault(in, batch.blocks[i].data());
      else
        std::memcpy(batch.blocks[i].data(),
                    whole[i].data() + (cut(in) ? micro * bytes : 0), bytes);
    }
    batch.counted = countLabels(program, batch);
  }

  std::string describe() const override {
    return "a fixed batch of " + std::to_string(rowsOfStep()) + " rows from '" + path + "'" +
           (program.numRamp > 1 ? ", of which a smaller step takes the first ones" : "");
  }

private:
  int64_t rowsOfStep() const { return program.batch * accumulate * shards; }

  /// Whether the input's first dimension is the batch.
  bool cut(const InputInfo &in) const {
    return in.rank > 0 && in.shape[0] == program.batch;
  }

  static bool exists(const std::string &file) {
    return access(file.c_str(), F_OK) == 0;
  }

  std::vector<unsigned char> load(const InputInfo &in) const {
    if (in.role == Role::scale)
      return {};
    std::string file = path + "/input_" + std::to_string(in.graphIndex) + ".pb";
    if (in.role == Role::labels && (in.graphIndex < 0 || !exists(file)))
      file = path + "/labels.pb";
    if (!exists(file)) {
      if (in.role == Role::attentionMask || in.role == Role::positionIds ||
          in.role == Role::tokenTypeIds)
        return {};
      throw InputError("'" + file + "', which gives the input '" + in.name +
                       "', does not exist");
    }
    const MappedFile mapped(file);
    const TensorView t = parseTensor({mapped.data(), mapped.size()}, file);
    if (t.external)
      throw InputError("'" + file + "' keeps its values in another file; store "
                       "them in the tensor itself");
    if (in.role != Role::labels && !t.name.empty() && t.name != in.name)
      throw InputError("'" + file + "' holds a tensor named '" + t.name +
                       "', input " + std::to_string(in.graphIndex) +
                       " of the model is '" + in.name + "'");
    checkShape(in, t, file);
    return convertTo(in, t, file);
  }

  void checkShape(const InputInfo &in, const TensorView &t,
                  const std::string &file) const {
    std::vector<int64_t> want = shapeOf(in);
    if (!cut(in)) {
      if (t.dims != want)
        throw InputError("'" + file + "' has shape " + shapeText(t.dims) +
                         ", input '" + in.name + "' is compiled as " +
                         shapeText(want) + "; use --bind to compile for it");
      return;
    }
    const int64_t rows = rowsOfStep();
    if (t.dims.size() == want.size() && !t.dims.empty() && t.dims[0] != rows) {
      const int64_t unit = program.batch * shards; // rows of one accumulation
      throw InputError(
          "'" + file + "' has a leading dimension of " + std::to_string(t.dims[0]) +
          ", batch " + std::to_string(program.batch) + " x accumulation " +
          std::to_string(accumulate) +
          (shards > 1 ? " x " + std::to_string(shards) + " ranks with data of their own" : "") +
          " is " + std::to_string(rows) +
          (t.dims[0] % unit == 0 && t.dims[0] > 0
               ? "; use --accumulate " + std::to_string(t.dims[0] / unit)
           : shards > 1 ? "; use a multiple of " + std::to_string(unit) + " rows"
                        : "; use --bind batch=" + std::to_string(t.dims[0])));
    }
    want[0] = rows;
    if (t.dims != want)
      throw InputError("'" + file + "' has shape " + shapeText(t.dims) +
                       ", input '" + in.name + "' needs " + shapeText(want) +
                       "; use --bind to compile for another shape");
  }

  std::vector<unsigned char> convertTo(const InputInfo &in, const TensorView &t,
                                       const std::string &file) const {
    const int64_t n = t.elements();
    const bool toFloats = isFloat(in.dtype);
    if (toFloats != isFloat(t.type))
      throw InputError("'" + file + "' holds " + nameOf(t.type) + ", input '" +
                       in.name + "' is " + nameOf(in.dtype));
    std::vector<unsigned char> bytes(n * bytesOf(in.dtype));
    if (t.type == in.dtype) {
      std::memcpy(bytes.data(), t.data.data, bytes.size());
    } else if (toFloats) {
      std::vector<float> floats(n);
      toFloat(t.type, t.data.data, n, floats.data());
      if (in.dtype == DType::f64) {
        auto *d = reinterpret_cast<double *>(bytes.data());
        std::copy(floats.begin(), floats.end(), d);
      } else {
        std::memcpy(bytes.data(), floats.data(), bytes.size());
      }
    } else {
      std::vector<int64_t> ints(n);
      toInt64(t.type, t.data.data, n, ints.data());
      for (int64_t i = 0; i < n; ++i) {
        if (in.dtype == DType::i64)
          reinterpret_cast<int64_t *>(bytes.data())[i] = ints[i];
        else if (in.dtype == DType::i32)
          reinterpret_cast<int32_t *>(bytes.data())[i] = int32_t(ints[i]);
        else
          bytes[i] = ints[i] != 0;
      }
    }
    if (in.dtype == DType::i64)
      checkIds(in, reinterpret_cast<int64_t *>(bytes.data()), n, file);
    return bytes;
  }

  /// Bounds of token ids and labels, and the shift of next-token labels.
  void checkIds(const InputInfo &in, int64_t *ids, int64_t n,
                const std::string &file) const {
    const int64_t seq = in.rank > 1 ? in.shape[in.rank - 1] : 1;
    if (in.role == Role::tokens && program.tokenVocab > 0)
      for (int64_t i = 0; i < n; ++i)
        if (ids[i] < 0 || ids[i] >= program.tokenVocab)
          throw InputError("token " + std::to_string(ids[i]) + " at row " +
                           std::to_string(i / seq) + ", position " +
                           std::to_string(i % seq) + " of '" + file +
                           "' is outside the model's vocabulary of " +
                           std::to_string(program.tokenVocab));
    if (in.role != Role::labels)
      return;
    for (int64_t m = 0; m < accumulate * shards; ++m)
      checkLabels(program, in, ids + m * elements(in), m * program.batch, file);
    if (program.labels == Labels::shifted && program.loss == Loss::nextToken)
      for (int64_t i = 0; i < n; ++i)
        ids[i] = (i + 1) % seq == 0 ? -100 : ids[i + 1];
  }

  std::string path;
  const Program &program;
  int64_t accumulate, shards;
  std::vector<std::vector<unsigned char>> whole; ///< all rows of each input
};
} // namespace

std::unique_ptr<DataSource> openFolder(const std::string &path,
                                       const Program &program,
                                       int64_t accumulate, int64_t shards) {
  return std::make_unique<Folder>(path, program, accumulate, shards);
}

} // namespace moire::rt
