//===- exports.cpp - Trained weights for others to read -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/exports.h"
#include "moire/rt/device.h"
#include "train/onnx_file.h"
#include "train/weights.h"
#include "train/whole_parameters.h"

#include <set>
#include <sys/statvfs.h>

namespace moire::rt {

Exports::Exports(const Program &program, const Options &o, const std::string &executable,
                 bool isWriter)
    : asked(o.exportOnnx) {
  if (!o.exportSafetensors.empty())
    asked += (asked.empty() ? "" : ", ") + o.exportSafetensors;
  if (!isWriter)
    return;
  const bool isOther = program.init || !o.weights.empty() || !o.resume.empty();
  if (!o.exportOnnx.empty())
    onnx = std::make_unique<OnnxExport>(program, pathOfModel(program, executable), o.exportOnnx,
                                        isOther       ? Changed::all
                                        : o.steps > 0 ? Changed::trained
                                                      : Changed::none);
  if (!o.exportSafetensors.empty())
    safetensors = std::make_unique<SafetensorsExport>(program, o.exportSafetensors);
  check();
}

void Exports::check() const {
  std::vector<std::pair<const char *, std::string>> paths;
  int64_t bytes = 0;
  if (onnx) {
    for (const std::string &path : onnx->paths())
      paths.emplace_back("--export", path);
    bytes += onnx->bytes();
  }
  if (safetensors) {
    paths.emplace_back("--export-safetensors", safetensors->path());
    bytes += safetensors->bytes();
  }
  std::set<std::string> different;
  for (auto &[flag, path] : paths) {
    const std::string start = std::string(flag) + " cannot write '" + path + "': ";
    if (!different.insert(path).second)
      throw InputError(start + "two files would have this name; use another one");
    struct stat st;
    if (stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
      throw InputError(start + "it is there and no file; use another name");
    // Of a folder that external data will have, the one that has it.
    std::string folder = folderOf(path);
    while (onnx && stat(folder.c_str(), &st) != 0 &&
           folder.size() > folderOf(paths[0].second).size())
      folder = folderOf(folder.substr(0, folder.size() - 1));
    if (stat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      throw InputError(start + "there is no folder '" + folder + "'; make it first");
    if (access(folder.c_str(), W_OK | X_OK) != 0)
      throw InputError(start + "the folder '" + folder + "' is not writable");
  }
  // Those of both may lie on one disk.
  for (auto &[flag, path] : paths) {
    struct statvfs disk;
    if (statvfs(folderOf(path).c_str(), &disk) != 0)
      continue;
    const double room = double(disk.f_bavail) * double(disk.f_frsize);
    if (room < double(bytes))
      throw InputError(std::string(flag) + " needs " + std::to_string(bytes) + " bytes, and the disk of '" +
                       path + "' has " + std::to_string(int64_t(room)) + "; make room, or use another one");
  }
}

std::string Exports::write(Context &ctx) {
  if (asked.empty())
    return "";
  const HostCopy params(ctx, ctx.params, /*read=*/true);
  if (onnx)
    onnx->begin();
  if (safetensors)
    safetensors->begin();
  gatherParameters(
      ctx, OfParameters::values, params.as<float>(), [](const ParameterInfo &) { return true; },
      [&](size_t number, const float *values) {
        if (onnx)
          onnx->put(number, values);
        if (safetensors)
          safetensors->put(number, values);
      });
  if (onnx)
    onnx->sync();
  if (safetensors)
    safetensors->sync();
  if (onnx)
    onnx->publish();
  if (safetensors)
    safetensors->publish();
  return asked;
}

} // namespace moire::rt
