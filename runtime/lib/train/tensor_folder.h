//===- tensor_folder.h - The tensors of one folder -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TENSORFOLDER_H
#define MOIRE_RT_TENSORFOLDER_H

#include "train/data.h"
#include "train/tensor_file.h"

#include <functional>
#include <string>
#include <vector>

namespace moire::rt {

/// input_N.pb (TensorProto, N is the graph's input) and labels.pb.
class TensorFolder {
public:
  /// What is wrong with a leading dimension that is not the expected one.
  using WrongRows = std::function<std::string(int64_t found)>;

  TensorFolder(std::string path, const Program &program)
      : folder(std::move(path)), program(program) {}

  const std::string &path() const { return folder; }
  /// Whether the input's first dimension is the batch.
  bool hasRows(const InputInfo &input) const;
  /// The leading dimension of the first input that has rows; 0: none has.
  int64_t rows() const;
  /// Throws InputError unless names, shapes and types are those of the program with `rows` rows.
  void check(int64_t rows, const WrongRows &wrong) const;
  /// The bytes of all rows of each of the program's inputs, in its type; none: it has a default.
  /// Next-token labels are shifted. Throws as check() does, and for a token or label that is
  /// wrong.
  std::vector<std::vector<unsigned char>> load(int64_t rows, const WrongRows &wrong) const;
  /// Copies row `from` of an input's bytes to row `to` of a micro-batch's.
  void copyRows(const InputInfo &input, const std::vector<unsigned char> &values, int64_t from,
                int64_t count, Block &block, int64_t to) const;

private:
  /// Which file gives an input; empty: none has to.
  std::string fileOf(const InputInfo &input) const;
  void checkTensor(const InputInfo &input, const TensorView &tensor, const std::string &file,
                   int64_t rows, const WrongRows &wrong) const;
  std::vector<unsigned char> convert(const InputInfo &input, const TensorView &tensor,
                                     const std::string &file) const;
  void prepareIds(const InputInfo &input, int64_t *ids, int64_t n, const std::string &file) const;

  std::string folder;
  const Program &program;
};

} // namespace moire::rt

#endif // MOIRE_RT_TENSORFOLDER_H
