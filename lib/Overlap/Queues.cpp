//===- Queues.cpp - Ranks' orders of collectives, laid together ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/Queues.h"

#include <algorithm>
#include <map>

using namespace moire::overlap;

std::optional<Circle> moire::overlap::findCircle(const Queues &queues) {
  // 1. Who takes part, and who has come.
  std::map<int, std::vector<int>> members;
  for (size_t rank = 0; rank < queues.size(); ++rank)
    for (int meeting : queues[rank])
      members[meeting].push_back(int(rank));
  std::map<int, size_t> came;
  std::vector<size_t> at(queues.size(), 0);
  std::vector<int> ready;
  auto arrive = [&](int rank) {
    if (at[rank] == queues[rank].size())
      return;
    const int meeting = queues[rank][at[rank]];
    if (++came[meeting] == members[meeting].size())
      ready.push_back(meeting);
  };
  for (size_t rank = 0; rank < queues.size(); ++rank)
    arrive(int(rank));
  // 2. Meetings take place.
  while (!ready.empty()) {
    const int meeting = ready.back();
    ready.pop_back();
    for (int rank : members[meeting]) {
      ++at[rank];
      arrive(rank);
    }
  }
  // 3. Who waits, waits for one who waits elsewhere.
  auto waits = [&](int rank) { return at[rank] < queues[rank].size(); };
  int rank = 0;
  while (rank < int(queues.size()) && !waits(rank))
    ++rank;
  if (rank == int(queues.size()))
    return std::nullopt;
  std::vector<std::pair<int, int>> path;
  for (;;) {
    const auto seen = std::find_if(path.begin(), path.end(),
                                   [&](const auto &entry) { return entry.first == rank; });
    if (seen != path.end())
      return Circle{{seen, path.end()}};
    const int meeting = queues[rank][at[rank]];
    path.push_back({rank, meeting});
    for (int other : members[meeting])
      if (!waits(other) || queues[other][at[other]] != meeting) {
        rank = other;
        break;
      }
  }
}
