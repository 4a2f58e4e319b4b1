//===- CommUtil.h - Ranks as threads, for tests ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_COMMUTIL_H
#define MOIRE_RUNTIME_COMMUTIL_H

#include "moire/rt/comm.h"

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace moire::rt::test {

/// What one rank of a test does. All have returned when this does; the errors that they
/// ended with, by rank, empty where none.
inline std::vector<std::string> onThreads(const Mesh &mesh,
                                          const std::vector<std::vector<int>> &groups,
                                          const std::function<void(Comm &)> &body,
                                          const Network &network = {},
                                          const CommOptions &options = {}) {
  const int ranks = int(mesh.ranks());
  auto transports = connectThreads(ranks, network);
  std::vector<std::string> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      Comm comm(std::move(transports[rank]), mesh, groups, options);
      try {
        body(comm);
        comm.link().finish();
      } catch (const std::exception &e) {
        errors[rank] = e.what();
        comm.link().abort(e.what());
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}
inline Mesh line(int ranks) { return Mesh({{"dp", ranks}}); }

} // namespace moire::rt::test

#endif
