//===- Queues.h - Ranks' orders of collectives, laid together ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each rank meets others in an order of its own; a meeting takes place when all who take
// part have come to it. Whether all meetings take place is a question about the union
// of the orders: it must have no circle. Plain data, no IR inside.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_QUEUES_H
#define MOIRE_OVERLAP_QUEUES_H

#include <optional>
#include <vector>

namespace moire::overlap {

/// [rank] → the meetings that it takes part in, in its order. Equal numbers are one
/// meeting.
using Queues = std::vector<std::vector<int>>;

/// Where ranks are when none can go on.
struct Circle {
  /// Ranks and the meeting that each waits at; the rank after it takes part in that
  /// meeting and waits at another one before it. The last is followed by the first.
  std::vector<std::pair<int, int>> waits;
};

/// Lets the meetings take place (Kahn's topological order) until none can; nothing where
/// all did. O(entries).
std::optional<Circle> findCircle(const Queues &queues);

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_QUEUES_H
