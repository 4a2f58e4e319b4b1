//===- checkpoint_tensors.h - Which tensors are in which file -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each file of a checkpoint holds whole logical tensors at the same places whatever the plan.
// Ranks write their parts straight to these places, and read theirs from there.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_TENSORS_H
#define MOIRE_RT_CHECKPOINT_TENSORS_H

#include "moire/rt/pieces.h"
#include "train/safetensors.h"
#include "train/shards.h"

#include <map>

namespace moire::rt {

/// A block of all ranks as a file.
struct CheckpointFile {
  std::string name;
  const DeviceBlock *block;
  bool state; ///< of the optimizer: of trained parameters only
  SafetensorsLayout layout;
  std::map<std::string, int64_t> places; ///< of the layout, by ParameterInfo::torchName

  /// Whether it has the parameter.
  bool holds(const ParameterInfo &p) const;
};
inline const char *const kWeightsName = "weights.safetensors";
/// The weights, then the optimizer's state under the names of torch.optim.
std::vector<CheckpointFile> checkpointFiles(const Context &ctx);

/// What a rank has of a tensor in its block.
struct Held {
  Part part;
  Owned range; ///< elements of the part
  int64_t at;  ///< in elements of the block
};
Held heldOf(const Context &ctx, const CheckpointFile &file, const ParameterInfo &p);
/// What of that this rank writes: each element of the tensor is written by one rank, and
/// those that hold the same ones share the work.
Owned writtenOf(const Context &ctx, const CheckpointFile &file, const ParameterInfo &p);

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_TENSORS_H
