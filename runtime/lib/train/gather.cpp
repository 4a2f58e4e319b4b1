//===- gather.cpp - What ranks tell each other ----------------------------===//
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

std::string tellAll(Comm *comm, std::string text, const char *what, int from) {
  if (!comm)
    return text;
  const Group all = comm->groupOver("pp,dp,ep,tp");
  int64_t bytes = int64_t(text.size());
  comm->broadcast(all, what, &bytes, sizeof bytes, from);
  text.resize(size_t(bytes));
  if (bytes > 0)
    comm->broadcast(all, what, text.data(), bytes, from);
  return text;
}

Verdict agree(Comm *comm, int code, std::string text, const char *what) {
  if (!comm)
    return {code, 0, std::move(text)};
  const Group all = comm->groupOver("pp,dp,ep,tp");
  const int64_t mine = code;
  std::vector<int64_t> codes(all.size());
  comm->allGather(all, what, &mine, codes.data(), 1, sizeof mine);
  for (int rank = 0; rank < all.size(); ++rank)
    if (codes[rank] != 0)
      return {int(codes[rank]), rank, tellAll(comm, std::move(text), what, rank)};
  return {};
}

void closeWritten(std::FILE *&file, const char *flag, const std::string &path) {
  const bool bad = std::ferror(file) != 0;
  const bool closed = std::fclose(std::exchange(file, nullptr)) == 0;
  if (bad || !closed)
    throw RunError(std::string("cannot write ") + flag + " '" + path +
                   "': " + std::strerror(errno));
}

} // namespace moire::rt
