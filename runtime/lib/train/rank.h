//===- rank.h - One rank's training run -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_RANK_H
#define MOIRE_RT_RANK_H

#include "moire/rt/comm.h"
#include "train/options.h"

#include <string>

namespace moire::rt {

/// An error that all ranks ended with, alike: rank 0 says it.
struct SaidByAnother {
  int code; ///< exit code
};

/// A signal stopped the run, and all of it is saved.
struct Stopped : RunError {
  using RunError::RunError;
};

/// The exit code of a run that ended with this error.
int exitCode(const std::exception &error);

struct RankSetup {
  const Program &program;
  const Options &options; ///< threads: this rank's
  std::string executable; ///< argv[0], what a relative modelPath starts from
  Comm *comm = nullptr;   ///< null: the only rank
  Transport *stages = nullptr; ///< with comm, where the program has a pipeline
  std::string ranks = {}; ///< for the log: how they are connected
  /// Whether a signal asks to stop: looked at once a step.
  int (*stopSignal)() = nullptr;
  double patience = 0; ///< CommOptions::patience
};

/// Trains. Throws InputError, RunError, Stopped or SaidByAnother. On many ranks the caller then
/// calls the transports' abort(): it has no effect where all ranks ended alike.
void trainRank(const RankSetup &setup);

} // namespace moire::rt

#endif // MOIRE_RT_RANK_H
