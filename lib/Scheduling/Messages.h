//===- Messages.h - Whether an order of messages can block ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_MESSAGES_H
#define MOIRE_LIB_SCHEDULING_MESSAGES_H

#include "Graph.h"

namespace moire::scheduling {

/// `activation of micro-batch 2 from stage 1`.
std::string describe(const Problem &problem, const Message &message);

/// Whether the queues hold every message once at both ends, and all of them move when a message
/// moves only while it is first in both queues. The dependences must be acyclic.
std::optional<Fault> verifyMessages(const Graph &graph);

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_MESSAGES_H
