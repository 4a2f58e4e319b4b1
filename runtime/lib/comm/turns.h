//===- turns.h - Who may use a rank's transport, and how long it took ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_TURNS_H
#define MOIRE_RT_COMM_TURNS_H

#include "comm/queue.h"
#include "comm/virtual_time.h"
#include "moire/rt/comm.h"

namespace moire::rt {

/// First in each collective. They may call one another.
class Comm::Turn {
public:
  explicit Turn(Comm &comm);
  ~Turn();
  Turn(const Turn &) = delete;

private:
  Comm &comm;
  const bool outer; ///< of the thread that computes, and in no other turn
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_TURNS_H
