//===- checkpoint_manifest.h - What a checkpoint says of itself -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// manifest.json, the last file that is written of a checkpoint. docs/checkpoints.md lists it.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_MANIFEST_H
#define MOIRE_RT_CHECKPOINT_MANIFEST_H

#include "train/options.h"

#include <string>
#include <utility>
#include <vector>

namespace moire::rt {

/// A checkpoint that is not what was written: another one may be whole.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How far a run came.
struct Progress {
  int64_t step = 0; ///< that were done
  int64_t rows = 0; ///< of data, that all ranks read for them; or pieces, see Manifest::Row
  std::vector<GroupProgress> groups = {}; ///< Program::updateGroups
};

struct Manifest {
  struct File {
    std::string name;
    int64_t bytes;
    uint64_t sum; ///< placed_sum.h
  };
  std::string model;
  uint64_t parameters = 0; ///< parametersPrint()
  std::string optimizer;
  uint64_t seed = 0;
  Progress progress;
  /// What progress.rows counts: of a program with several sequence lengths (curriculum.h) pieces, so
  /// many of a row. tokens: of a row; 0: not known.
  struct Row {
    int64_t tokens = 0, pieces = 1;
  } row;
  std::vector<File> files;
  /// Options that the numbers of later steps depend on, with their flags.
  std::vector<std::pair<std::string, std::string>> options;

  std::string text() const;
  /// Throws Damaged, and InputError for a checkpoint of another version of the format.
  static Manifest parse(const std::string &text);

  /// Without files. rows: those of a step.
  static Manifest of(const Program &program, const Options &options, const Progress &progress,
                     int64_t rows);
  /// The progress as `run` counts it. A part of its piece is rounded up.
  Progress progressOf(const Manifest &run) const;
  /// Throws InputError where a run of the other one cannot go on from this one, at `path`.
  void mustMatch(const Manifest &run, const std::string &path) const;
  /// What of the options is different in `run`; empty: nothing.
  std::string differences(const Manifest &run) const;
};

inline const char *const kManifestName = "manifest.json";

/// A fingerprint of names and shapes of the trained parameters, which all plans of a model share.
uint64_t parametersPrint(const Program &program);

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_MANIFEST_H
