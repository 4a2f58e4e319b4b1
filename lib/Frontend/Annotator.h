//===- Annotator.h - What a placement says of each node ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_ANNOTATOR_H
#define MOIRE_LIB_FRONTEND_ANNOTATOR_H

#include "Metadata.h"
#include "moire/Frontend/Placement.h"

namespace moire::frontend {

/// A placement in the terms of IR 11, for the nodes of one file.
class Annotator {
public:
  Annotator(const pb::ModelProto &model, const Placement &placement);

  /// What node `i` gets as its NodeDeviceConfigurationProto; none: nothing.
  std::optional<pb::NodeDeviceConfigurationProto> of(int i) const;
  pb::DeviceConfigurationProto configuration() const;

  std::string error;

private:
  void placeNodes();
  void add(const std::string &tensor, const Placement::Tensor &place, int64_t stage,
           pb::NodeDeviceConfigurationProto &node) const;
  int64_t coordinate(int64_t rank, const std::string &axis) const;

  const pb::GraphProto &graph;
  const Placement &placement;
  std::vector<int64_t> stages; ///< of nodes; -1: not known
  int64_t ranks = 1;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_ANNOTATOR_H
