//===- comm.cpp - Meshes, groups, and what every transport shares ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/comm.h"

#include <algorithm>
#include <cstring>
#include <sstream>

namespace moire::rt {

Transport::Clock::time_point Transport::arrival(int64_t bytes) {
  const auto now = Clock::now();
  if (!network.given() || clock.on)
    return now;
  const double seconds = network.bandwidth > 0 ? double(bytes) / network.bandwidth : 0;
  linkFree = std::max(linkFree, now) +
             std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  return linkFree + std::chrono::duration_cast<Clock::duration>(
                        std::chrono::duration<double>(network.latency));
}

void copyPieces(const std::vector<Piece> &from, const std::vector<Piece> &to) {
  size_t f = 0, t = 0;
  int64_t fromAt = 0, toAt = 0;
  while (f < from.size() && t < to.size()) {
    const int64_t n = std::min(from[f].bytes - fromAt, to[t].bytes - toAt);
    if (n > 0)
      std::memcpy(static_cast<char *>(to[t].data) + toAt,
                  static_cast<const char *>(from[f].data) + fromAt, n);
    fromAt += n;
    toAt += n;
    if (fromAt == from[f].bytes) {
      ++f;
      fromAt = 0;
    }
    if (t < to.size() && toAt == to[t].bytes) {
      ++t;
      toAt = 0;
    }
  }
}

std::string RankFault::sentence(int ranks, const std::string &what) const {
  return "rank " + std::to_string(rank) + " of " + std::to_string(ranks) + " is lost in " + what +
         ": " + why;
}

std::string stoppedWith(const std::string &error) { return "it stopped with \"" + error + "\""; }

Mesh::Mesh(const Program &p) {
  for (int64_t i = 0; i < p.numAxes; ++i)
    axes.push_back({p.axes[i].name, p.axes[i].size});
}

int64_t Mesh::ranks() const {
  int64_t n = 1;
  for (const Axis &axis : axes)
    n *= axis.size;
  return n;
}

int64_t Mesh::coordinate(int64_t rank, int axis) const {
  for (int i = int(axes.size()) - 1; i > axis; --i)
    rank /= axes[i].size;
  return rank % axes[axis].size;
}

std::vector<int> Mesh::axesNamed(const std::string &names) const {
  std::vector<int> found;
  std::istringstream list(names);
  std::vector<std::string> wanted;
  for (std::string name; std::getline(list, name, ',');)
    wanted.push_back(name);
  for (int i = 0; i < int(axes.size()); ++i)
    if (std::count(wanted.begin(), wanted.end(), axes[i].name))
      found.push_back(i);
  return found;
}

Group Mesh::group(int64_t rank, const std::vector<int> &chosen) const {
  Group group;
  for (int64_t other = 0; other < ranks(); ++other) {
    bool member = true;
    for (int axis = 0; axis < int(axes.size()); ++axis)
      member = member && (std::count(chosen.begin(), chosen.end(), axis) ||
                          coordinate(other, axis) == coordinate(rank, axis));
    if (!member)
      continue;
    if (other == rank)
      group.index = group.size();
    group.members.push_back(int(other));
  }
  return group;
}

std::string Mesh::text() const {
  std::string text;
  for (const Axis &axis : axes)
    text += (text.empty() ? "" : ",") + axis.name + "=" + std::to_string(axis.size);
  return text;
}

double Transport::virtualArrival(int64_t bytes) {
  virtualLinkFree = std::max(virtualLinkFree, clock.now) +
                    (network.bandwidth > 0 ? double(bytes) / network.bandwidth : 0);
  return virtualLinkFree + network.latency;
}

} // namespace moire::rt
