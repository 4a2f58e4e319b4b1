//===- weights.cpp - Values of parameters ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/weights.h"
#include "moire/rt/checksum.h"
#include "moire/rt/device.h"
#include "moire/rt/parallel.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"
#include "train/convert.h"
#include "train/onnx_file.h"
#include "train/philox.h"
#include "train/safetensors.h"
#include "train/shards.h"

#include <dirent.h>
#include <cstdio>
#include <functional>
#include <set>
#include <sys/stat.h>
#include <vector>

namespace moire::rt {

std::string commonPrefix(const Program &p) {
  if (p.namePrefix)
    return p.namePrefix;
  std::string head;
  for (const ParameterInfo *parameter : allParameters(p)) {
    if (!parameter->trainable)
      continue;
    const std::string name = parameter->torchName;
    const size_t dot = name.find('.');
    if (dot == std::string::npos || (!head.empty() && name.compare(0, dot + 1, head) != 0))
      return "";
    head = name.substr(0, dot + 1);
  }
  return head;
}

std::string savedName(const ParameterInfo &p, const std::string &prefix) {
  const std::string name = p.torchName;
  return name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : name;
}

std::string pathOfModel(const Program &p, const std::string &executable) {
  const std::string path = p.modelPath;
  return path.empty() || path[0] == '/' ? path : folderOf(executable) + path;
}

void checkUnchanged(const Program &p, const std::string &file, const std::string &path) {
  for (int64_t f = 0; f < p.numFiles; ++f) {
    const FileInfo &info = p.files[f];
    if (info.path != file)
      continue;
    const FileChecksum now = fileChecksum(path.c_str());
    if (info.bytes != now.bytes || info.checksum != now.sum)
      throw InputError("'" + path +
                       "' has changed since the program was compiled "
                       "(then " + std::to_string(info.bytes) +
                       " bytes, now " + std::to_string(now.bytes) +
                       ", or other contents); compile again, or give the "
                       "weights by --weights");
  }
}

namespace {
bool endsWith(const std::string &s, const std::string &end) {
  return s.size() >= end.size() &&
         s.compare(s.size() - end.size(), end.size(), end) == 0;
}

/// The params block on the host, to be filled.
struct Values {
  Context &ctx;
  float *data;

  Part part(const ParameterInfo &p) const {
    return ctx.comm ? Part::ofRank(p, ctx.comm->mesh, ctx.comm->rank())
                    : Part::ofRank(p, Mesh(), 0);
  }
  /// Which elements of that part the block has.
  Owned kept(const ParameterInfo &p) const {
    return p.zero >= 3 ? owned(ctx, p) : Owned{0, shardElements(p)};
  }
};

/// Row 2i of the file is row i of the parameter, row 2i + 1 is row rows/2 + i.
Runs interleaved(const Runs &runs, int64_t rows) {
  Runs stored;
  for (const Run &run : runs)
    for (int64_t row = run.begin; row < run.begin + run.count; ++row)
      stored.push_back({row < rows / 2 ? 2 * row : 2 * (row - rows / 2) + 1, 1});
  return stored;
}

/// Writes what the rank holds of one stored tensor into its part of the parameter. What
/// it does not hold stays in the file, but for pieces of a shard that is stored
/// transposed, for which it reads the shard.
void place(const Values &values, const ParameterInfo &p, const Source &s, DType type,
           const unsigned char *bytes, int64_t size, const std::string &where) {
  const bool sliced =
      s.transform == Transform::slice || s.transform == Transform::sliceTranspose;
  const bool transposed = s.transform == Transform::transposeLast2 ||
                          s.transform == Transform::sliceTranspose;
  Part part = values.part(p);
  int64_t before = 0; // in the shard, of the elements from this tensor
  int64_t n = part.wholeElements();
  if (sliced)
    n /= part.dims[0];
  if (!isFloat(type) || size != n * bytesOf(type))
    throw InputError("initializer '" + std::string(s.initializer) + "' of '" + where +
                     "' has " + std::to_string(size) + " bytes of " + nameOf(type) +
                     ", parameter '" + p.torchName + "' of shape " +
                     shapeText(globalShape(p)) + " needs " + std::to_string(n) +
                     " floats");
  if (sliced) {
    int64_t rows = 0;
    const Run *found = nullptr;
    for (const Run &run : part.runs[0]) {
      if (s.index >= run.begin && s.index < run.begin + run.count) {
        found = &run;
        break;
      }
      rows += run.count;
    }
    if (!found)
      return; // another rank's
    const int64_t index = rows + s.index - found->begin;
    part.dims.erase(part.dims.begin());
    part.runs.erase(part.runs.begin());
    before = index * part.elements();
  }
  const size_t rank = part.dims.size();
  if (s.transform == Transform::interleaveHalvesDim1)
    part.runs[1] = interleaved(part.runs[1], part.dims[1]);
  // Of the tensor's part the places that are kept, and where its first one would lie.
  const Owned kept = values.kept(p);
  const int64_t all = part.elements();
  const int64_t begin = std::clamp<int64_t>(kept.begin - before, 0, all);
  const int64_t end = std::clamp<int64_t>(kept.end - before, 0, all);
  if (begin >= end)
    return;
  float *to = values.data + p.offset + before - kept.begin;
  if (!transposed) {
    eachPieceWithin(part, begin, end, [&](int64_t at, int64_t whole, int64_t count) {
      toFloat(type, bytes + whole * bytesOf(type), count, to + at);
    });
    return;
  }
  // In the stored layout first.
  std::swap(part.dims[rank - 2], part.dims[rank - 1]);
  std::swap(part.runs[rank - 2], part.runs[rank - 1]);
  std::vector<float> stored(all), turned(end - begin < all ? all : 0);
  eachPiece(part, [&](int64_t at, int64_t whole, int64_t count) {
    toFloat(type, bytes + whole * bytesOf(type), count, stored.data() + at);
  });
  const int64_t cols = part.size(rank - 2), rows = part.size(rank - 1);
  swapAxes(all / (rows * cols), cols, rows, 1, stored.data(), turned.empty() ? to : turned.data());
  if (!turned.empty())
    std::copy(turned.begin() + begin, turned.begin() + end, to + begin);
}

/// The model's own files, at the offsets that the compiler recorded.
void loadModel(const Values &values, const std::string &executable,
               const std::function<bool(const ParameterInfo &)> &wanted) {
  const Program &p = *values.ctx.program;
  const std::string folder = folderOf(pathOfModel(p, executable));
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
        checkUnchanged(p, s.file, file->path());
      }
      if (s.offset < 0 || s.bytes < 0 || s.offset > file->size() ||
          s.bytes > file->size() - s.offset)
        throw InputError("'" + file->path() + "' has " +
                         std::to_string(file->size()) + " bytes, initializer '" +
                         s.initializer + "' ends at " +
                         std::to_string(s.offset + s.bytes));
      place(values, param, s, s.dtype, file->data() + s.offset, s.bytes, s.file);
      file->forget(file->data() + s.offset, s.bytes); // else all weights are there twice
    }
  }
}

/// The initializer of a source. Where the model has parameters merged, --export gave those that
/// differ initializers of PyTorch's names.
const TensorView *findInitializer(const OnnxFile &file, const Program &p, const ParameterInfo &param,
                                  const Source &s) {
  for (int64_t i = 0; i < p.numMerged; ++i)
    if (std::strcmp(p.merged[i].initializer, s.initializer) == 0)
      if (const TensorView *own = file.find(param.torchName))
        return own;
  return file.find(s.initializer);
}

void loadOnnx(const Values &values, const std::string &path) {
  const OnnxFile file(path);
  const Program &p = *values.ctx.program;
  for (int64_t i = 0; i < p.numParameters; ++i)
    for (int64_t k = 0; k < p.parameters[i].numSources; ++k) {
      const Source &s = p.parameters[i].sources[k];
      const TensorView *t = findInitializer(file, p, p.parameters[i], s);
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

/// What a safetensors file may call a parameter.
std::vector<std::string> namesOf(const Program &p, const ParameterInfo &param) {
  std::vector<std::string> names = {param.torchName};
  for (int64_t i = 0; i < p.numSaved; ++i)
    if (std::strcmp(p.saved[i].parameter, param.name) == 0 && p.saved[i].name != names[0])
      names.push_back(p.saved[i].name);
  return names;
}

/// The tensor of a parameter; null: there is none. Throws where a tied one has two values.
const TensorView *findTensor(const Safetensors &file, const std::string &path, const Program &p,
                             const ParameterInfo &param, const std::string &prefix,
                             std::set<const TensorView *> &taken) {
  const TensorView *found = nullptr;
  for (const std::string &name : namesOf(p, param)) {
    const TensorView *t = findByName(file.tensors(), name, prefix);
    if (!t || t == found)
      continue;
    taken.insert(t);
    if (found && (t->type != found->type || t->data.size != found->data.size ||
                  std::memcmp(t->data.data, found->data.data, size_t(t->data.size)) != 0))
      throw InputError("tensors '" + found->name + "' and '" + t->name + "' of '" + path +
                       "' differ, and are one parameter of the model");
    found = found ? found : t;
  }
  return found;
}

/// Tensors that no parameter takes: another model's file may look right but for them.
void warnOfSurplus(const Safetensors &file, const std::string &path, const Program &p,
                   const std::string &prefix) {
  std::set<const TensorView *> taken;
  for (const ParameterInfo *param : allParameters(p))
    findTensor(file, path, p, *param, prefix, taken);
  std::string names;
  const size_t surplus = file.tensors().size() - taken.size();
  size_t named = 0;
  for (auto &[name, t] : file.tensors())
    if (!taken.count(&t) && named++ < 3)
      names += (named > 1 ? ", '" : "'") + name + "'";
  if (surplus)
    std::fprintf(stderr, "warning: the model has no parameter for %zu of the %zu tensors of '%s': %s%s\n",
                 surplus, file.tensors().size(), path.c_str(), names.c_str(),
                 surplus > 3 ? ", …" : "");
}

void loadSafetensors(const Values &values, const std::string &path,
                     const std::string &executable) {
  const Safetensors file(path);
  const Program &p = *values.ctx.program;
  const std::string prefix = commonPrefix(p);
  if (!values.ctx.comm || values.ctx.comm->rank() == 0)
    warnOfSurplus(file, path, p, prefix);
  std::set<const TensorView *> taken;
  std::vector<bool> missing(p.numParameters);
  bool any = false;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    const TensorView *t = findTensor(file, path, p, param, prefix, taken);
    if (!t) {
      if (param.trainable)
        throw InputError("'" + path + "' has no tensor '" + param.torchName + "'");
      // A buffer that PyTorch does not save (inv_freq): from the model.
      missing[i] = any = true;
      continue;
    }
    if (t->dims != globalShape(param))
      throw InputError("tensor '" + t->name + "' of '" + path + "' has shape " +
                       shapeText(t->dims) + ", parameter '" + param.torchName +
                       "' has " + shapeText(globalShape(param)));
    const Source same = {param.torchName, "", 0, 0, t->type, Transform::same, 0};
    place(values, param, same, t->type, t->data.data, t->data.size, path);
  }
  if (any)
    loadModel(values, executable, [&](const ParameterInfo &param) {
      return missing[&param - p.parameters];
    });
}

/// Fresh values: element i of a logical parameter is a function of the seed, the
/// parameter's name and i, whichever rank holds it.
void initialize(const Values &values, const ParameterInfo &p, uint64_t seed) {
  const uint64_t name = fnv1a(p.torchName, std::strlen(p.torchName));
  const Owned kept = values.kept(p);
  eachPieceWithin(
      values.part(p), kept.begin, kept.end, [&](int64_t at, int64_t whole, int64_t count) {
        float *to = values.data + p.offset + at - kept.begin - whole; // by the logical element
        const int64_t first = whole / 4, groups = (whole + count + 3) / 4 - first;
        parallelFor(values.ctx, groups, kElementwiseGrain / 4, [&](int64_t begin, int64_t end) {
          for (int64_t group = first + begin; group < first + end; ++group) {
            const auto words = philox(seed, name, group);
            const auto a = normalPair(words[0], words[1]), b = normalPair(words[2], words[3]);
            const double normal[4] = {a[0], a[1], b[0], b[1]};
            for (int64_t i = std::max(whole, 4 * group); i < std::min(whole + count, 4 * group + 4);
                 ++i)
              to[i] = p.init == Init::normal ? float(normal[i - 4 * group] * p.initStd)
                                             : (p.init == Init::ones ? 1.0f : 0.0f);
          }
        });
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
