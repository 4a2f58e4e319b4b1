//===- export_safetensors.cpp - Trained weights by PyTorch's names --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/export_safetensors.h"
#include "moire/rt/pipeline.h"
#include "train/shards.h"

#include <algorithm>
#include <map>

namespace moire::rt {

/// Each parameter's names, in the order of allParameters().
static std::vector<std::pair<std::string, size_t>> namesOf(const Program &p) {
  const std::vector<const ParameterInfo *> all = allParameters(p);
  std::multimap<std::string, std::string> saved;
  for (int64_t i = 0; i < p.numSaved; ++i)
    saved.emplace(p.saved[i].parameter, p.saved[i].name);
  std::vector<std::pair<std::string, size_t>> names;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!p.saved)
      names.emplace_back(all[i]->torchName, i);
    const auto [first, last] = saved.equal_range(all[i]->name);
    for (auto name = first; name != last; ++name)
      names.emplace_back(name->second, i);
  }
  return names;
}

static SafetensorsLayout layoutOf(const Program &p,
                                  const std::vector<std::pair<std::string, size_t>> &names) {
  const std::vector<const ParameterInfo *> all = allParameters(p);
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (auto &[name, number] : names)
    shapes.emplace_back(name, globalShape(*all[number]));
  return SafetensorsLayout(shapes);
}

SafetensorsExport::SafetensorsExport(const Program &program, const std::string &path)
    : tensors(namesOf(program)), name(path), layout(layoutOf(program, tensors)) {
  for (const ParameterInfo *p : allParameters(program))
    sizes.push_back(Part::ofRank(*p, Mesh(), 0).elements() * int64_t(sizeof(float)));
}

void SafetensorsExport::begin() {
  file = std::make_unique<NewFile>(name, layout.bytes);
  file->write(layout.head.data(), int64_t(layout.head.size()), 0);
}

void SafetensorsExport::put(size_t number, const float *values) {
  // In ascending order of their parameters.
  const auto first = std::lower_bound(
      tensors.begin(), tensors.end(), number,
      [](const std::pair<std::string, size_t> &t, size_t n) { return t.second < n; });
  for (auto t = first; t != tensors.end() && t->second == number; ++t)
    file->write(values, sizes[number], layout.places[t - tensors.begin()]);
}

} // namespace moire::rt
