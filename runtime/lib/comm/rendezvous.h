//===- rendezvous.h - How processes find each other -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_RENDEZVOUS_H
#define MOIRE_RT_COMM_RENDEZVOUS_H

#include "comm/socket.h"
#include "moire/rt/comm.h"

namespace moire::rt {

/// One connection of each kind to every other rank; the own entries are empty.
struct Connections {
  std::vector<Socket> data, control;
  std::vector<Socket> stages; ///< without twice: all empty
};

/// All ranks call it, twice alike: whether there are stages' connections. Throws RunError where not all came in time, where one is lost on
/// the way, or where two say that they are the same rank.
Connections meet(const TcpOptions &options, bool twice = false);

} // namespace moire::rt

#endif // MOIRE_RT_COMM_RENDEZVOUS_H
