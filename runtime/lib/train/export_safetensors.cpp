//===- export_safetensors.cpp - Trained weights by PyTorch's names --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/export_safetensors.h"
#include "moire/rt/pipeline.h"
#include "train/shards.h"

namespace moire::rt {

/// Each parameter's names, in the order of allParameters().
static std::vector<std::pair<std::string, size_t>> namesOf(const Program &p) {
  const std::vector<const ParameterInfo *> all = allParameters(p);
  std::vector<std::pair<std::string, size_t>> names;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!p.saved)
      names.emplace_back(all[i]->torchName, i);
    for (int64_t k = 0; p.saved && k < p.numSaved; ++k)
      if (p.saved[k].parameter == std::string(all[i]->name))
        names.emplace_back(p.saved[k].name, i);
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
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].second == number)
      file->write(values, sizes[number], layout.places[i]);
}

} // namespace moire::rt
