//===- weights.cpp - Values of parameters ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/weights.h"
#include "moire/rt/checksum.h"
#include "moire/rt/device.h"
#include "moire/rt/parallel.h"
#include "train/convert.h"
#include "train/onnx_file.h"
#include "train/philox.h"
#include "train/safetensors.h"

#include <dirent.h>
#include <functional>
#include <sys/stat.h>
#include <vector>

namespace moire::rt {

int64_t elements(const ParameterInfo &p) {
  int64_t n = 1;
  for (int64_t i = 0; i < p.rank; ++i)
    n *= p.shape[i];
  return n;
}

std::string commonPrefix(const Program &p) {
  if (p.namePrefix)
    return p.namePrefix;
  std::string head;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    if (!p.parameters[i].trainable)
      continue;
    const std::string name = p.parameters[i].torchName;
    const size_t dot = name.find('.');
    if (dot == std::string::npos || (!head.empty() && name.compare(0, dot + 1, head) != 0))
      return "";
    head = name.substr(0, dot + 1);
  }
  return head;
}

namespace {
std::vector<int64_t> shapeOf(const ParameterInfo &p) {
  return std::vector<int64_t>(p.shape, p.shape + p.rank);
}
bool endsWith(const std::string &s, const std::string &end) {
  return s.size() >= end.size() &&
         s.compare(s.size() - end.size(), end.size(), end) == 0;
}

/// The params block on the host, to be filled.
struct Values {
  Context &ctx;
  float *data;
};

/// Writes one stored tensor into its part of the parameter.
void place(const Values &values, const ParameterInfo &p, const Source &s, DType type,
           const unsigned char *bytes, int64_t size, const std::string &where) {
  const bool part =
      s.transform == Transform::slice || s.transform == Transform::sliceTranspose;
  const int64_t n = elements(p) / (part ? p.shape[0] : 1);
  if (!isFloat(type) || size != n * bytesOf(type))
    throw InputError("initializer '" + std::string(s.initializer) + "' of '" + where +
                     "' has " + std::to_string(size) + " bytes of " + nameOf(type) +
                     ", parameter '" + p.torchName + "' of shape " +
                     shapeText(shapeOf(p)) + " needs " + std::to_string(n) +
                     " floats");
  float *to = values.data + p.offset + (part ? s.index * n : 0);
  switch (s.transform) {
  case Transform::same:
  case Transform::reshape:
  case Transform::slice:
    toFloat(type, bytes, n, to);
    return;
  case Transform::transposeLast2:
  case Transform::sliceTranspose: {
    const int64_t rows = p.shape[p.rank - 2], cols = p.shape[p.rank - 1];
    std::vector<float> stored(n);
    toFloat(type, bytes, n, stored.data());
    swapAxes(n / (rows * cols), cols, rows, 1, stored.data(), to);
    return;
  }
  case Transform::interleaveHalvesDim1: {
    const int64_t rows = p.shape[1], half = rows / 2;
    const int64_t inner = n / (p.shape[0] * rows);
    std::vector<float> stored(n);
    toFloat(type, bytes, n, stored.data());
    // [E, 2, half, inner] of the parameter is [E, half, 2, inner] of the file.
    swapAxes(p.shape[0], half, 2, inner, stored.data(), to);
    return;
  }
  }
}

std::string modelFolder(const Program &p, const std::string &executable) {
  std::string path = p.modelPath;
  if (!path.empty() && path[0] != '/')
    path = folderOf(executable) + path;
  return folderOf(path);
}

/// The model's own files, at the offsets that the compiler recorded.
void loadModel(const Values &values, const std::string &executable,
               const std::function<bool(const ParameterInfo &)> &wanted) {
  const Program &p = *values.ctx.program;
  const std::string folder = modelFolder(p, executable);
  std::map<std::string, std::unique_ptr<MappedFile>> files;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    if (!wanted(param))
      continue;
    for (int64_t k = 0; k < param.numSources; ++k) {
      const Source &s = param.sources[k];
      if (!s.file || !*s.file)
        throw InputError("the model was compiled without the values of '" +
                         std::string(s.initializer) +
                         "'; give them by --weights, or compile with --init");
      auto &file = files[s.file];
      if (!file) {
        file = std::make_unique<MappedFile>(folder + s.file);
        for (int64_t f = 0; f < p.numFiles; ++f) {
          const FileInfo &info = p.files[f];
          if (info.path != std::string(s.file))
            continue;
          const FileChecksum now = fileChecksum(file->path().c_str());
          if (info.bytes != now.bytes || info.checksum != now.sum)
            throw InputError("'" + file->path() +
                             "' has changed since the program was compiled "
                             "(then " + std::to_string(info.bytes) +
                             " bytes, now " + std::to_string(file->size()) +
                             ", or other contents); compile again, or give the "
                             "weights by --weights");
        }
      }
      if (s.offset < 0 || s.bytes < 0 || s.offset > file->size() ||
          s.bytes > file->size() - s.offset)
        throw InputError("'" + file->path() + "' has " +
                         std::to_string(file->size()) + " bytes, initializer '" +
                         s.initializer + "' ends at " +
                         std::to_string(s.offset + s.bytes));
      place(values, param, s, s.dtype, file->data() + s.offset, s.bytes, s.file);
    }
  }
}

void loadOnnx(const Values &values, const std::string &path) {
  const OnnxFile file(path);
  const Program &p = *values.ctx.program;
  for (int64_t i = 0; i < p.numParameters; ++i)
    for (int64_t k = 0; k < p.parameters[i].numSources; ++k) {
      const Source &s = p.parameters[i].sources[k];
      const TensorView *t = file.find(s.initializer);
      if (!t)
        throw InputError("'" + path + "' has no initializer '" + s.initializer +
                         "' for parameter '" + p.parameters[i].torchName +
                         "'; use a file that the same exporter wrote");
      place(values, p.parameters[i], s, t->type, t->data.data, t->data.size, path);
    }
}

/// The tensor of a PyTorch name: equal, or equal without the program's common
/// prefix, or the only one that differs by a prefix on either side.
const TensorView *findByName(const std::map<std::string, TensorView> &tensors,
                             const std::string &name, const std::string &prefix) {
  if (auto it = tensors.find(name); it != tensors.end())
    return &it->second;
  std::string bare = name;
  if (!prefix.empty() && name.compare(0, prefix.size(), prefix) == 0)
    bare = name.substr(prefix.size());
  if (auto it = tensors.find(bare); it != tensors.end())
    return &it->second;
  const TensorView *found = nullptr;
  for (auto &[other, t] : tensors) {
    if (!endsWith(other, "." + bare) && !endsWith(name, "." + other))
      continue;
    if (found)
      return nullptr;
    found = &t;
  }
  return found;
}

void loadSafetensors(const Values &values, const std::string &path,
                     const std::string &executable) {
  const Safetensors file(path);
  const Program &p = *values.ctx.program;
  const std::string prefix = commonPrefix(p);
  std::vector<bool> missing(p.numParameters);
  bool any = false;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    const TensorView *t = findByName(file.tensors(), param.torchName, prefix);
    if (!t) {
      if (param.trainable)
        throw InputError("'" + path + "' has no tensor '" + param.torchName + "'");
      // A buffer that PyTorch does not save (inv_freq): from the model.
      missing[i] = any = true;
      continue;
    }
    if (t->dims != shapeOf(param))
      throw InputError("tensor '" + t->name + "' of '" + path + "' has shape " +
                       shapeText(t->dims) + ", parameter '" + param.torchName +
                       "' has " + shapeText(shapeOf(param)));
    const Source same = {param.torchName, "", 0, 0, t->type, Transform::same, 0};
    place(values, param, same, t->type, t->data.data, t->data.size, path);
  }
  if (any)
    loadModel(values, executable, [&](const ParameterInfo &param) {
      return missing[&param - p.parameters];
    });
}

/// Fresh values: element i of a parameter is a function of the seed, the
/// parameter's name and i.
void initialize(const Values &values, const ParameterInfo &p, uint64_t seed) {
  float *to = values.data + p.offset;
  const uint64_t name = fnv1a(p.torchName, std::strlen(p.torchName));
  parallelFor(values.ctx, (elements(p) + 3) / 4, kElementwiseGrain / 4,
              [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const auto words = philox(seed, name, group);
      const auto a = normalPair(words[0], words[1]), b = normalPair(words[2], words[3]);
      const double values[4] = {a[0], a[1], b[0], b[1]};
      for (int64_t j = 0; j < 4 && 4 * group + j < elements(p); ++j)
        to[4 * group + j] =
            p.init == Init::normal ? float(values[j] * p.initStd)
                                   : (p.init == Init::ones ? 1.0f : 0.0f);
    }
  });
}

/// What --weights names: a folder is searched for one file.
std::string resolve(const std::string &path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0)
    throw InputError("--weights '" + path + "' does not exist");
  if (!S_ISDIR(st.st_mode))
    return path;
  std::vector<std::string> index, tensors, onnx;
  if (DIR *d = opendir(path.c_str())) {
    while (const dirent *entry = readdir(d)) {
      const std::string name = entry->d_name;
      if (endsWith(name, ".safetensors.index.json"))
        index.push_back(name);
      else if (endsWith(name, ".safetensors"))
        tensors.push_back(name);
      else if (endsWith(name, ".onnx"))
        onnx.push_back(name);
    }
    closedir(d);
  }
  for (const auto *list : {&index, &tensors, &onnx})
    if (list->size() == 1)
      return path + "/" + list->front();
  throw InputError("folder '" + path + "' holds " + std::to_string(tensors.size()) +
                   " .safetensors and " + std::to_string(onnx.size()) +
                   " .onnx files and no single index; give the file itself");
}

void loadInto(const Values &values, const std::string &weights, uint64_t seed,
              const std::string &executable) {
  const Program &p = *values.ctx.program;
  if (!weights.empty()) {
    const std::string path = resolve(weights);
    if (endsWith(path, ".onnx"))
      loadOnnx(values, path);
    else if (endsWith(path, ".safetensors") || endsWith(path, ".json"))
      loadSafetensors(values, path, executable);
    else
      throw InputError("--weights '" + weights +
                       "' is neither .onnx nor .safetensors nor an index.json");
    return;
  }
  if (!p.init) {
    loadModel(values, executable, [](const ParameterInfo &) { return true; });
    return;
  }
  // Buffers keep the file's values (frequencies, masks) where they are at hand.
  for (int64_t i = 0; i < p.numParameters; ++i)
    if (p.parameters[i].trainable || p.parameters[i].numSources == 0 ||
        !*p.parameters[i].sources[0].file)
      initialize(values, p.parameters[i], seed);
  loadModel(values, executable, [](const ParameterInfo &q) {
    return !q.trainable && q.numSources > 0 && *q.sources[0].file;
  });
}

} // namespace

void loadWeights(Context &ctx, const std::string &weights, uint64_t seed,
                 const std::string &executable) {
  HostCopy copy(ctx, ctx.params, /*read=*/false);
  loadInto({ctx, copy.as<float>()}, weights, seed, executable);
  copy.store();
}

} // namespace moire::rt
