//===- exports.h - Trained weights for others to read ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EXPORTS_H
#define MOIRE_RT_EXPORTS_H

#include "train/export_onnx.h"
#include "train/export_safetensors.h"
#include "train/options.h"

#include <memory>
#include <string>

namespace moire::rt {

/// What --export and --export-safetensors write after the last step. Files appear under their
/// names when all of them are whole.
class Exports {
public:
  /// Before the first step: throws InputError where something could not be written. Only rank
  /// 0's files are looked at.
  Exports(const Program &program, const Options &options, const std::string &executable,
          bool isWriter);
  /// By all ranks at the same time, one parameter after another: the paths of what is there now;
  /// empty: nothing was asked for. Throws RunError.
  std::string write(Context &ctx);

private:
  void check() const;
  std::string asked; ///< paths
  std::unique_ptr<OnnxExport> onnx;               ///< null: not asked for, or another rank's
  std::unique_ptr<SafetensorsExport> safetensors; ///< the same
};

} // namespace moire::rt

#endif // MOIRE_RT_EXPORTS_H
