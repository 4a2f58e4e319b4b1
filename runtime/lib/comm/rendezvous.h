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
};

/// All ranks call it. Throws RunError where not all came in time, where one is lost on
/// the way, or where two say that they are the same rank.
Connections meet(const TcpOptions &options);

} // namespace moire::rt

#endif // MOIRE_RT_COMM_RENDEZVOUS_H
