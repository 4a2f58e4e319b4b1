//===- export_safetensors.h - Trained weights by PyTorch's names ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EXPORT_SAFETENSORS_H
#define MOIRE_RT_EXPORT_SAFETENSORS_H

#include "train/new_file.h"
#include "train/safetensors.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moire::rt {

/// A safetensors file of what Program::saved names, float32, a tied parameter under each of its
/// names, as state_dict() has it.
class SafetensorsExport {
public:
  SafetensorsExport(const Program &program, const std::string &path);
  const std::string &path() const { return name; }
  int64_t bytes() const { return layout.bytes; }

  /// Makes the file. Throws RunError, like all that follows.
  void begin();
  /// The values of a parameter, by its number in allParameters().
  void put(size_t number, const float *values);
  void sync() { file->sync(); }
  void publish() { file->publish(); }

private:
  /// Names and the parameters that they stand for, in the file's order.
  std::vector<std::pair<std::string, size_t>> tensors;
  std::vector<int64_t> sizes; ///< in bytes, by the parameter's number
  std::string name;
  SafetensorsLayout layout;
  std::unique_ptr<NewFile> file;
};

} // namespace moire::rt

#endif // MOIRE_RT_EXPORT_SAFETENSORS_H
