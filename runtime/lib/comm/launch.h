//===- launch.h - Who started this process, and as which rank -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_LAUNCH_H
#define MOIRE_RT_COMM_LAUNCH_H

#include <functional>
#include <string>

namespace moire::rt {

struct Launch {
  enum class By { none, threads, torchrun, openMpi, pmi, slurm };
  By by = By::none;
  int rank = 0, size = 1;
  int localSize = 1; ///< ranks on this machine
  int localRank = 0; ///< this one's number among them
  /// Where rank 0 listens; empty where the launcher does not say.
  std::string host;
  int port = 0;
  bool isProcess() const { return by != By::none && by != By::threads; }
};

/// In this order: `ranksFlag` (--ranks, 0: not given), then what launchers leave in the
/// environment: torchrun, Open MPI, PMI (MPICH, Intel), Slurm; else a single process.
/// Throws InputError for variables that contradict each other.
Launch detectLaunch(int ranksFlag, const std::function<const char *(const char *)> &environment);

/// The first host of Slurm's list: "n[07-09,12],m3" gives n07.
std::string firstHost(const std::string &nodeList);

} // namespace moire::rt

#endif // MOIRE_RT_COMM_LAUNCH_H
