//===- checkpoint_reader.cpp - Finding and loading a checkpoint -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint_reader.h"
#include "moire/rt/device.h"
#include "train/checkpoint_folder.h"
#include "train/gather.h"
#include "train/placed_sum.h"
#include "train/weights.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

namespace moire::rt {

namespace {
bool isFolder(const std::string &path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

/// Paths of what may be resumed, newest first; rank 0 looks.
std::vector<std::string> candidates(const std::string &folder) {
  if (!isFolder(folder))
    throw InputError("--resume '" + folder +
                     "' is not there; give the folder that --checkpoint wrote to");
  struct stat st;
  if (stat((folder + "/" + kManifestName).c_str(), &st) == 0)
    return {folder};
  const CheckpointFolder checkpoints(folder);
  std::vector<std::string> paths;
  for (int64_t step : checkpoints.steps())
    paths.insert(paths.begin(), checkpoints.pathOf(step));
  if (paths.empty()) {
    const size_t left = checkpoints.leftOver().size();
    throw InputError("--resume '" + folder + "' holds no checkpoint" +
                     (left ? ", only " + std::to_string(left) + " that was never finished" : "") +
                     "; give the folder that --checkpoint wrote to");
  }
  return paths;
}

/// Throws Damaged where the file is not as long as it was written. The sum of this rank's share.
uint64_t sumOfShare(const std::string &folder, const Manifest::File &f, int rank, int ranks) {
  std::ifstream file(folder + "/" + f.name, std::ios::binary | std::ios::ate);
  if (!file)
    throw Damaged("'" + f.name + "' is missing");
  const int64_t size = int64_t(file.tellg());
  if (size != f.bytes || size % 4 != 0)
    throw Damaged("'" + f.name + "' has " + std::to_string(size) + " bytes, its manifest says " +
                  std::to_string(f.bytes));
  const int64_t words = size / 4, begin = words * rank / ranks * 4,
                end = words * (rank + 1) / ranks * 4;
  std::vector<char> room(size_t(std::min<int64_t>(end - begin, 1 << 20)));
  uint64_t sum = 0;
  file.seekg(begin);
  for (int64_t at = begin; at < end; at += int64_t(room.size())) {
    const int64_t n = std::min<int64_t>(end - at, int64_t(room.size()));
    if (!file.read(room.data(), n))
      throw Damaged("'" + f.name + "' cannot be read at byte " + std::to_string(at));
    sum += placedSum(room.data(), n, at);
  }
  return sum;
}

Manifest readManifest(const std::string &path) {
  std::ifstream file(path + "/" + kManifestName, std::ios::binary);
  if (!file)
    throw Damaged("it has no manifest");
  std::stringstream text;
  text << file.rdbuf();
  try {
    return Manifest::parse(text.str());
  } catch (const InputError &e) {
    throw InputError("checkpoint '" + path + "' " + e.what());
  }
}

enum Found { whole, damaged, refused };

/// By all ranks: whether this one can be loaded.
Verdict look(const Context &ctx, const std::string &path, const Manifest &run, Manifest &manifest) {
  const int rank = ctx.comm ? ctx.comm->rank() : 0, ranks = ctx.comm ? ctx.comm->size() : 1;
  std::vector<uint64_t> sums;
  Found code = whole;
  std::string why;
  try {
    manifest = readManifest(path);
    manifest.mustMatch(run, path);
    for (const Manifest::File &f : manifest.files)
      sums.push_back(sumOfShare(path, f, rank, ranks));
  } catch (const Damaged &e) {
    code = damaged;
    why = e.what();
  } catch (const std::exception &e) {
    code = refused;
    why = e.what();
  }
  const Verdict verdict = agree(ctx.comm, code, why, "a checkpoint to resume");
  if (verdict.code != whole)
    return verdict;
  std::vector<uint64_t> theirs = sums;
  if (ctx.comm) {
    theirs.resize(sums.size() * ranks);
    ctx.comm->allGather(ctx.comm->groupOver("pp,dp,ep,tp"), "a checkpoint's checksums", sums.data(),
                        theirs.data(), 1, int64_t(sums.size() * sizeof(uint64_t)));
  }
  for (size_t f = 0; f < sums.size(); ++f) {
    uint64_t sum = 0;
    for (size_t i = f; i < theirs.size(); i += sums.size())
      sum += theirs[i];
    if (sum != manifest.files[f].sum)
      return {damaged, 0,
              "'" + manifest.files[f].name + "' has another checksum than its manifest says"};
  }
  return verdict;
}
} // namespace

FoundCheckpoint findCheckpoint(const Context &ctx, const std::string &folder, const Manifest &run) {
  FoundCheckpoint found;
  int code = 0;
  std::string list;
  if (!ctx.comm || ctx.comm->rank() == 0)
    try {
      for (const std::string &path : candidates(folder))
        list += path + "\n";
    } catch (const std::exception &e) {
      code = 1;
      list = e.what();
    }
  const Verdict listed = agree(ctx.comm, code, list, "a checkpoint to resume");
  if (listed.code) {
    found.error = listed.text;
    return found;
  }
  std::istringstream paths(tellAll(ctx.comm, list, "a checkpoint to resume"));
  for (std::string path; std::getline(paths, path);) {
    const Verdict verdict = look(ctx, path, run, found.manifest);
    if (verdict.code == whole) {
      found.path = path;
      return found;
    }
    if (verdict.code == refused) {
      found.error = verdict.text;
      return found;
    }
    found.notes.push_back("checkpoint '" + path + "' is damaged: " + verdict.text);
  }
  found.error =
      "no checkpoint in --resume '" + folder + "' is whole: " + found.notes.front() +
      (found.notes.size() > 1 ? "; and " + std::to_string(found.notes.size() - 1) + " before it"
                              : "");
  return found;
}

void loadCheckpoint(Context &ctx, const std::string &path, const std::string &executable) {
  const Program &program = *ctx.program;
  loadWeights(ctx, path + "/" + kWeightsName, /*seed=*/0, executable);
  const std::string prefix = commonPrefix(program);
  for (const CheckpointFile &file : checkpointFiles(ctx)) {
    if (!file.state)
      continue;
    const std::string name = path + "/" + file.name;
    const Safetensors stored(name);
    HostCopy copy(ctx, *file.block, /*read=*/true);
    for (int64_t i = 0; i < program.numParameters; ++i) {
      const ParameterInfo &p = program.parameters[i];
      if (!file.holds(p))
        continue;
      const auto tensor = stored.tensors().find(savedName(p, prefix));
      if (tensor == stored.tensors().end())
        throw InputError("'" + name + "' has no tensor '" + savedName(p, prefix) + "'");
      const TensorView &t = tensor->second;
      if (t.type != DType::f32 || t.dims != globalShape(p))
        throw InputError("tensor '" + t.name + "' of '" + name + "' has shape " +
                         shapeText(t.dims) + ", parameter '" + p.torchName + "' has " +
                         shapeText(globalShape(p)));
      const Held held = heldOf(ctx, file, p);
      float *to = copy.as<float>() + held.at;
      eachPieceWithin(held.part, held.range.begin, held.range.end,
                      [&](int64_t at, int64_t whole, int64_t count) {
                        std::memcpy(to + at - held.range.begin, t.data.data + whole * 4,
                                    size_t(count) * 4);
                      });
    }
    copy.store();
  }
}

} // namespace moire::rt
