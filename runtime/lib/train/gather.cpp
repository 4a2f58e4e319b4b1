//===- gather.cpp - What rank 0 writes of all ranks -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/gather.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace moire::rt {

std::vector<std::string> gatherTexts(Comm *comm, std::string own, const char *what) {
  if (!comm)
    return {std::move(own)};
  const Group all = comm->groupOver("pp,dp,ep,tp");
  std::vector<std::string> texts(all.size());
  const int64_t bytes = int64_t(own.size());
  texts[comm->rank()] = std::move(own);
  std::vector<int64_t> sizes(all.size());
  comm->allGather(all, what, &bytes, sizes.data(), 1, sizeof bytes);
  for (int rank = 1; rank < all.size(); ++rank) {
    if (comm->rank() == rank)
      comm->exchange(what, {{0, {{texts[rank].data(), bytes}}}}, {});
    if (comm->rank() == 0) {
      texts[rank].resize(size_t(sizes[rank]));
      comm->exchange(what, {}, {{rank, {{texts[rank].data(), sizes[rank]}}}});
    }
  }
  return texts;
}

void closeWritten(std::FILE *&file, const char *flag, const std::string &path) {
  const bool bad = std::ferror(file) != 0;
  const bool closed = std::fclose(std::exchange(file, nullptr)) == 0;
  if (bad || !closed)
    throw RunError(std::string("cannot write ") + flag + " '" + path + "': " + std::strerror(errno));
}

} // namespace moire::rt
