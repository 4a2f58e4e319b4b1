//===- tensor_folder.cpp - The tensors of one folder -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/tensor_folder.h"
#include "train/convert.h"
#include "train/mapped_file.h"

namespace moire::rt {

namespace {
bool exists(const std::string &file) { return access(file.c_str(), F_OK) == 0; }

TensorView parse(const MappedFile &mapped, const std::string &file) {
  TensorView t = parseTensor({mapped.data(), mapped.size()}, file);
  if (t.external)
    throw InputError("'" + file +
                     "' keeps its values in another file; store "
                     "them in the tensor itself");
  return t;
}
} // namespace

bool TensorFolder::hasRows(const InputInfo &in) const {
  return in.rank > 0 && in.shape[0] == program.batch;
}

std::string TensorFolder::fileOf(const InputInfo &in) const {
  if (in.role == Role::scale)
    return "";
  std::string file = folder + "/input_" + std::to_string(in.graphIndex) + ".pb";
  if (in.role == Role::labels && (in.graphIndex < 0 || !exists(file)))
    file = folder + "/labels.pb";
  if (exists(file))
    return file;
  if (in.role == Role::attentionMask || in.role == Role::positionIds ||
      in.role == Role::tokenTypeIds)
    return "";
  throw InputError("'" + file + "', which gives the input '" + in.name + "', does not exist");
}

int64_t TensorFolder::rows() const {
  for (int64_t i = 0; i < program.numInputs; ++i) {
    const InputInfo &in = program.inputs[i];
    const std::string file = hasRows(in) ? fileOf(in) : "";
    if (file.empty())
      continue;
    const MappedFile mapped(file);
    const TensorView t = parse(mapped, file);
    return t.dims.empty() ? 0 : t.dims[0];
  }
  return 0;
}

void TensorFolder::checkTensor(const InputInfo &in, const TensorView &t, const std::string &file,
                               int64_t rows, const WrongRows &wrong) const {
  if (in.role != Role::labels && !t.name.empty() && t.name != in.name)
    throw InputError("'" + file + "' holds a tensor named '" + t.name + "', input " +
                     std::to_string(in.graphIndex) + " of the model is '" + in.name + "'");
  std::vector<int64_t> want(in.shape, in.shape + in.rank);
  if (hasRows(in)) {
    if (t.dims.size() == want.size() && t.dims[0] != rows)
      throw InputError("'" + file + "' has a leading dimension of " + std::to_string(t.dims[0]) +
                       ", " + wrong(t.dims[0]));
    want[0] = rows;
    if (t.dims != want)
      throw InputError("'" + file + "' has shape " + shapeText(t.dims) + ", input '" + in.name +
                       "' needs " + shapeText(want) + "; use --bind to compile for another shape");
  } else if (t.dims != want) {
    throw InputError("'" + file + "' has shape " + shapeText(t.dims) + ", input '" + in.name +
                     "' is compiled as " + shapeText(want) + "; use --bind to compile for it");
  }
  if (isFloat(in.dtype) != isFloat(t.type))
    throw InputError("'" + file + "' holds " + nameOf(t.type) + ", input '" + in.name + "' is " +
                     nameOf(in.dtype));
}

void TensorFolder::check(int64_t rows, const WrongRows &wrong) const {
  for (int64_t i = 0; i < program.numInputs; ++i) {
    const std::string file = fileOf(program.inputs[i]);
    if (file.empty())
      continue;
    const MappedFile mapped(file);
    checkTensor(program.inputs[i], parse(mapped, file), file, rows, wrong);
  }
}

std::vector<std::vector<unsigned char>> TensorFolder::load(int64_t rows,
                                                           const WrongRows &wrong) const {
  std::vector<std::vector<unsigned char>> whole(program.numInputs);
  for (int64_t i = 0; i < program.numInputs; ++i) {
    const InputInfo &in = program.inputs[i];
    const std::string file = fileOf(in);
    if (file.empty())
      continue;
    const MappedFile mapped(file);
    const TensorView t = parse(mapped, file);
    checkTensor(in, t, file, rows, wrong);
    whole[i] = convert(in, t, file);
  }
  return whole;
}

std::vector<unsigned char> TensorFolder::convert(const InputInfo &in, const TensorView &t,
                                                 const std::string &file) const {
  const int64_t n = t.elements();
  std::vector<unsigned char> bytes(n * bytesOf(in.dtype));
  if (t.type == in.dtype) {
    std::memcpy(bytes.data(), t.data.data, bytes.size());
  } else if (isFloat(in.dtype)) {
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
    prepareIds(in, reinterpret_cast<int64_t *>(bytes.data()), n, file);
  return bytes;
}

/// Bounds of token ids and labels, and the shift of next-token labels.
void TensorFolder::prepareIds(const InputInfo &in, int64_t *ids, int64_t n,
                              const std::string &file) const {
  const int64_t seq = in.rank > 1 ? in.shape[in.rank - 1] : 1;
  if (in.role == Role::tokens && program.tokenVocab > 0)
    for (int64_t i = 0; i < n; ++i)
      if (ids[i] < 0 || ids[i] >= program.tokenVocab)
        throw InputError("token " + std::to_string(ids[i]) + " at row " + std::to_string(i / seq) +
                         ", position " + std::to_string(i % seq) + " of '" + file +
                         "' is outside the model's vocabulary of " +
                         std::to_string(program.tokenVocab));
  if (in.role != Role::labels)
    return;
  checkLabels(program, in, ids, n, file);
  if (program.labels == Labels::shifted && program.loss == Loss::nextToken)
    for (int64_t i = 0; i < n; ++i)
      ids[i] = (i + 1) % seq == 0 ? -100 : ids[i + 1];
}

void TensorFolder::copyRows(const InputInfo &in, const std::vector<unsigned char> &values,
                            int64_t from, int64_t count, Block &block, int64_t to) const {
  const int64_t bytes = elements(in) / program.batch * bytesOf(in.dtype);
  std::memcpy(block.data() + to * bytes, values.data() + from * bytes, count * bytes);
}

} // namespace moire::rt
