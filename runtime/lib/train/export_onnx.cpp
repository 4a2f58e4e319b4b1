//===- export_onnx.cpp - Trained weights in the model's own ONNX file -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/export_onnx.h"
#include "moire/rt/checksum.h"
#include "moire/rt/pipeline.h"
#include "train/convert.h"
#include "train/onnx_file.h"
#include "train/shards.h"
#include "train/weights.h"

#include <algorithm>
#include <filesystem>

namespace moire::rt {

namespace {
constexpr int64_t kChunk = int64_t(16) << 20;

std::string nameIn(const std::string &path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

/// How many elements of the parameter a source stores.
int64_t elementsOf(const ParameterInfo &p, const Source &s) {
  const bool sliced =
      s.transform == Transform::slice || s.transform == Transform::sliceTranspose;
  const int64_t n = Part::ofRank(p, Mesh(), 0).wholeElements();
  return sliced ? n / globalShape(p)[0] : n;
}

/// The parameter's values as the source stores them: the inverse of place() in weights.cpp.
std::vector<float> toStored(const ParameterInfo &p, const Source &s, const float *values) {
  const int64_t n = elementsOf(p, s);
  std::vector<int64_t> dims = globalShape(p);
  if (s.transform == Transform::slice || s.transform == Transform::sliceTranspose) {
    values += s.index * n;
    dims.erase(dims.begin());
  }
  std::vector<float> stored(n);
  if (s.transform == Transform::transposeLast2 || s.transform == Transform::sliceTranspose) {
    const int64_t rows = dims[dims.size() - 2], columns = dims.back();
    swapAxes(n / std::max<int64_t>(1, rows * columns), rows, columns, 1, values, stored.data());
  } else if (s.transform == Transform::interleaveHalvesDim1) {
    const int64_t half = dims[1] / 2, row = n / std::max<int64_t>(1, dims[0] * dims[1]);
    swapAxes(dims[0], 2, half, row, values, stored.data());
  } else {
    std::copy_n(values, n, stored.begin());
  }
  return stored;
}
} // namespace

OnnxExport::OnnxExport(const Program &program, const std::string &model, const std::string &path,
                       Changed changed)
    : program(program), model(model), path(path), parameters(allParameters(program)) {
  fileOf(nameIn(model));
  initializers = findInitializers(*files[0].input);
  eachTensor(*files[0].input, [&](Span message) {
    const TensorView t = parsePlace(message, model);
    if (t.external)
      fileOf(t.file);
  });
  for (size_t i = 0; i < parameters.size(); ++i) {
    places.emplace_back();
    for (int64_t k = 0; k < parameters[i]->numSources; ++k) {
      places[i].push_back(find(*parameters[i], parameters[i]->sources[k]));
      std::vector<size_t> &all = holders[{places[i][k].file, places[i][k].offset}];
      if (all.empty() || all.back() != i)
        all.push_back(i);
    }
  }
  checkCreated();
  splitMerged(changed);
}

/// Gives each parameter that another one's initializer holds one of its own.
void OnnxExport::splitMerged(Changed changed) {
  for (auto &[place, numbers] : holders) {
    const bool isTrained = std::any_of(numbers.begin(), numbers.end(), [&](size_t i) {
      return parameters[i]->trainable || parameters[i]->balanceRate > 0;
    });
    if (numbers.size() < 2 || changed == Changed::none || (changed == Changed::trained && !isTrained))
      continue;
    const Place *held = nullptr;
    for (const Place &p : places[numbers[0]])
      if (p.file == place.first && p.offset == place.second)
        held = &p;
    const MergedInfo *merged = nullptr;
    for (int64_t i = 0; i < program.numMerged; ++i)
      if (program.merged[i].initializer == std::string(held->source->initializer))
        merged = &program.merged[i];
    if (!merged && !isTrained)
      continue; // put() looks whether they differ
    if (!merged)
      throw InputError("initializer '" + std::string(held->source->initializer) + "' of '" + model +
                       "' holds '" + parameters[numbers[0]]->torchName + "' and '" +
                       parameters[numbers[1]]->torchName +
                       "', which were equal and get other values, and who reads which of them is "
                       "not known; export the model from weights that differ, or use "
                       "--export-safetensors");
    split(*merged);
  }
  if (added.empty())
    return;
  fixLengths(*files[0].input, edits);
  for (std::vector<Place> &all : places)
    for (Place &place : all)
      if (place.toFile == 0)
        place.to = moved(edits, place.to);
  for (const Added &a : added) {
    Place &place = places[a.parameter][a.place];
    int64_t growth = 0;
    for (const Edit &e : edits) {
      growth += e.growth();
      if (e.bytes == a.field)
        place.to = e.begin + growth - place.bytes; // at the field's end
    }
    place.toFile = 0;
  }
  for (const Edit &e : edits)
    files[0].bytes += e.growth();
}

/// The parameter whose name the initializer has, or else the first one that a node reads, keeps it.
void OnnxExport::split(const MergedInfo &merged) {
  const MappedFile &file = *files[0].input;
  const ValueUses uses = findUses(file, merged.initializer);
  const auto initializer = initializers.find(merged.initializer);
  bool known = initializer != initializers.end() && uses.nested == 0 && int64_t(uses.inputs.size()) == merged.numUses;
  for (int64_t i = 0; known && i < merged.numUses; ++i)
    known = uses.inputs[i].node == merged.uses[i].node && uses.inputs[i].index == merged.uses[i].input;
  if (!known)
    throw InputError("initializer '" + std::string(merged.initializer) + "' of '" + model +
                     "' holds several parameters, and the nodes that read it are not those of the "
                     "time of compilation; compile again, or use --export-safetensors");
  std::string keeper = merged.uses[0].parameter;
  for (const ParameterInfo *p : parameters)
    if (p->torchName == std::string(merged.initializer))
      keeper = p->name;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterInfo &p = *parameters[i];
    if (p.name == keeper)
      continue;
    for (size_t k = 0; k < places[i].size(); ++k) {
      const Source &s = *places[i][k].source;
      if (s.initializer != std::string(merged.initializer))
        continue;
      if (names.empty())
        names = namesOfValues(file);
      std::string name = p.torchName;
      while (!names.insert(name).second)
        name += "_";
      std::string field;
      for (int64_t d : initializer->second.place.dims)
        field += encodeField(1, uint64_t(d));
      field += encodeField(2, codeOf(s.dtype)) + encodeField(8, name) +
               encodeField(9, std::string(size_t(places[i][k].bytes), '\0'));
      added.push_back({i, k, encodeField(5, field)});
      const int64_t at = initializer->second.begin;
      edits.push_back({at, at, added.back().field});
      for (int64_t u = 0; u < merged.numUses; ++u)
        if (merged.uses[u].parameter == std::string(p.name))
          edits.push_back({uses.inputs[u].begin, uses.inputs[u].end, encodeField(1, name)});
    }
  }
}

size_t OnnxExport::fileOf(const std::string &name) {
  for (size_t i = 0; i < files.size(); ++i)
    if (files[i].name == name)
      return i;
  if (!staysInside(name))
    throw InputError("tensors of '" + model + "' lie in '" + name + "', outside the model's folder");
  File file;
  file.name = name;
  file.path = files.empty() ? path : folderOf(path) + name;
  const std::string from = folderOf(model) + name;
  // What is missing is made of parameters alone: checkCreated().
  if (files.empty() || access(from.c_str(), F_OK) == 0) {
    file.input = std::make_unique<MappedFile>(from);
    file.bytes = file.input->size();
    checkUnchanged(program, name, from);
  }
  files.push_back(std::move(file));
  return files.size() - 1;
}

OnnxExport::Place OnnxExport::find(const ParameterInfo &p, const Source &s) {
  const int64_t bytes = elementsOf(p, s) * bytesOf(s.dtype);
  Place place = {&s, 0, s.offset, bytes, 0, 0};
  if (s.file && *s.file) {
    place.file = fileOf(s.file);
  } else {
    // The compiler saw no bytes: a file that does not exist yet, or numbers that are no run of
    // bytes of the type's width.
    const auto field = initializers.find(s.initializer);
    if (field == initializers.end() || !field->second.place.external)
      throw InputError("initializer '" + std::string(s.initializer) + "' of '" + model +
                       "' has no place for its values; save the model with raw_data or with "
                       "external data");
    place.file = fileOf(field->second.place.file);
    place.offset = field->second.place.offset;
    if (!files[place.file].input)
      files[place.file].bytes = std::max(files[place.file].bytes, place.offset + bytes);
  }
  const File &file = files[place.file];
  if (place.offset < 0 || place.offset > file.bytes || bytes > file.bytes - place.offset)
    throw InputError("initializer '" + std::string(s.initializer) + "' ends at " +
                     std::to_string(place.offset + bytes) + ", '" + folderOf(model) + file.name +
                     "' has " + std::to_string(file.bytes) + " bytes");
  place.toFile = place.file;
  place.to = place.offset;
  return place;
}

/// Of a file that does not exist every tensor must be known.
void OnnxExport::checkCreated() {
  eachTensor(*files[0].input, [&](Span message) {
    const TensorView t = parsePlace(message, model);
    if (!t.external)
      return;
    const size_t file = fileOf(t.file);
    if (!files[file].input && t.elements() > 0 && !holders.count({file, t.offset}))
      throw InputError("'" + folderOf(model) + t.file + "' does not exist, and '" + t.name +
                       "', which lies in it, is no parameter of the program: its values are not "
                       "known; use --export-safetensors");
  });
}

std::vector<std::string> OnnxExport::paths() const {
  std::vector<std::string> all;
  for (const File &file : files) {
    struct stat in, out;
    if (file.input && stat(file.input->path().c_str(), &in) == 0 &&
        stat(file.path.c_str(), &out) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
      throw InputError("--export '" + path + "' would write over '" + file.input->path() +
                       "', which the model is read from; give it another " +
                       (&file == &files[0] ? "name" : "folder"));
    all.push_back(file.path);
  }
  return all;
}

int64_t OnnxExport::bytes() const {
  int64_t sum = 0;
  for (const File &file : files)
    sum += file.bytes;
  return sum;
}

void OnnxExport::begin() {
  for (File &file : files) {
    std::error_code error;
    if (const std::string folder = folderOf(file.path); folder != folderOf(path))
      std::filesystem::create_directories(folder, error); // else there is no file, either
    file.output = std::make_unique<NewFile>(file.path, file.bytes);
    if (!file.input)
      continue;
    checkUnchanged(program, file.name, file.input->path());
    copy(file, &file == &files[0] ? edits : std::vector<Edit>());
  }
}

/// The input with its edits.
void OnnxExport::copy(File &file, const std::vector<Edit> &edits) {
  int64_t from = 0, to = 0;
  auto copyUntil = [&](int64_t end) {
    while (from < end) {
      const int64_t count = std::min(kChunk, end - from);
      file.output->write(file.input->data() + from, count, to);
      file.input->forget(file.input->data() + from, count);
      from += count;
      to += count;
    }
  };
  for (const Edit &e : edits) {
    copyUntil(e.begin);
    file.output->write(e.bytes.data(), int64_t(e.bytes.size()), to);
    to += int64_t(e.bytes.size());
    from = e.end;
  }
  copyUntil(file.input->size());
}

void OnnxExport::put(size_t number, const float *values) {
  for (const Place &place : places[number]) {
    const File &file = files[place.file];
    const std::vector<float> stored = toStored(*parameters[number], *place.source, values);
    std::vector<unsigned char> bytes(place.bytes);
    if (file.input) {
      std::copy_n(file.input->data() + place.offset, place.bytes, bytes.begin());
      file.input->forget(file.input->data() + place.offset, place.bytes);
    }
    fromFloat(place.source->dtype, stored.data(), int64_t(stored.size()), bytes.data());
    // Of parameters that still have one initializer the first one's bytes are there.
    const bool isShared = holders[{place.file, place.offset}].size() > 1;
    const uint64_t hash = isShared ? fnv1a(bytes.data(), bytes.size()) : 0;
    if (isShared && written.emplace(std::pair(place.toFile, place.to), hash).first->second != hash)
      throw RunError("initializer '" + std::string(place.source->initializer) +
                     "' holds several parameters, and '" + parameters[number]->torchName +
                     "' has got another value; use --export-safetensors");
    files[place.toFile].output->write(bytes.data(), place.bytes, place.to);
  }
}

void OnnxExport::sync() {
  for (File &file : files)
    file.output->sync();
}

/// The model last: with it the others are there.
void OnnxExport::publish() {
  for (size_t i = files.size(); i-- > 0;)
    files[i].output->publish();
}

} // namespace moire::rt
