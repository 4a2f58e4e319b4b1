//===- checkpoint_reader.h - Finding and loading a checkpoint -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_READER_H
#define MOIRE_RT_CHECKPOINT_READER_H

#include "train/checkpoint_manifest.h"
#include "train/checkpoint_tensors.h"

namespace moire::rt {

struct FoundCheckpoint {
  std::string path; ///< empty: none
  Manifest manifest;
  /// What was passed over, and why, one sentence each.
  std::vector<std::string> notes;
  std::string error; ///< where the run cannot start; the same on all ranks
};

/// By all ranks: the newest checkpoint of `folder` that is whole, or `folder` itself where that is
/// one. Each rank reads its share of the files to compare their checksums. run: what the
/// checkpoint must match.
FoundCheckpoint findCheckpoint(const Context &ctx, const std::string &folder, const Manifest &run);

/// Fills this rank's parameters and optimizer state. executable: see loadWeights(). Throws
/// InputError.
void loadCheckpoint(Context &ctx, const std::string &path, const std::string &executable);

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_READER_H
