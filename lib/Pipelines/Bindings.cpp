//===- Bindings.cpp - The text of --bind ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Pipelines/Pipelines.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

mlir::LogicalResult moire::parseBindings(ArrayRef<std::string> texts,
                                         std::vector<std::pair<std::string, int64_t>> &bindings,
                                         std::string &error) {
  for (StringRef text : texts) {
    auto [name, size] = text.split('=');
    int64_t value = 0;
    if (name.empty() || size.getAsInteger(10, value) || value < 1) {
      error = formatv("--bind '{0}' must be NAME=SIZE with a size of 1 or more, for example "
                      "--bind batch=2,seq=10",
                      text);
      return mlir::failure();
    }
    for (auto &[other, otherValue] : bindings)
      if (other == name && otherValue != value) {
        error = formatv("--bind gives '{0}' both {1} and {2}; give it once", name, otherValue, value);
        return mlir::failure();
      }
    bindings.push_back({name.str(), value});
  }
  return mlir::success();
}
