//===- Placement.h - A compiled placement in an ONNX file -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_FRONTEND_PLACEMENT_H
#define MOIRE_FRONTEND_PLACEMENT_H

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moire::frontend {

/// Which rank has what, in the terms of a file: names of nodes and of tensors that they read.
struct Placement {
  /// A dim that ranks divide evenly, each of its `blocks` equal blocks by itself.
  struct Split {
    int64_t dim;
    std::vector<std::string> axes; ///< of the mesh, the first outermost
    int64_t size = 0;              ///< of the dim; 0: not known, `name` is its name
    std::string name;
    int64_t blocks = 1;
  };
  struct Tensor {
    std::vector<Split> splits;
    /// Axis → coordinate: only these ranks have it.
    std::vector<std::pair<std::string, int64_t>> only;
  };

  std::string configuration;                        ///< of DeviceConfigurationProto
  std::vector<std::pair<std::string, int64_t>> mesh; ///< axes and sizes, the last one fastest
  /// [stage] → coordinates on the axis pp of the ranks that hold it; empty: no pipeline.
  std::vector<std::vector<int64_t>> holders;
  /// Nodes whose stage is known. One inside a call has the call's name, a slash and its own.
  std::map<std::string, int64_t> stages;
  std::map<std::string, Tensor> tensors; ///< those that are divided
};

/// Writes the model of `path` to `output` with the placement in it: DeviceConfigurationProto and
/// NodeDeviceConfigurationProto of IR 11, in place of those of the same configuration. All
/// else is copied byte by byte. A node that has no stage of its own has that of what reads its
/// results. Returns an error sentence, empty where it is done; the file is there as a whole or not.
std::string writePlacement(const std::string &path, const std::string &output,
                           const Placement &placement);

/// The mesh, "pp=2,ep=4", of that device configuration of the file, whose devices are named as
/// writePlacement names them. Returns an error sentence, empty where it is done.
std::string readMesh(const std::string &path, const std::string &configuration, std::string &mesh);

/// Whether `placement` divides every tensor as the file's sharding_specs of that configuration say.
/// The first that it does not in a sentence, empty where there is none.
std::string comparePlacement(const std::string &path, const std::string &configuration,
                             const Placement &placement);

} // namespace moire::frontend

#endif // MOIRE_FRONTEND_PLACEMENT_H
