//===- windows.cpp - Token files cut into windows -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/windows.h"

#include <algorithm>
#include <array>

namespace moire::rt {

namespace {
/// So many documents are looked through to find a window: what is kept of a file with 10^8 of
/// them is 3 MB.
constexpr int64_t kStride = 256;

int64_t windowsOf(int64_t tokens, int64_t seq) { return tokens < 2 ? 0 : (tokens - 2 + seq) / seq; }
} // namespace

Windows::Windows(std::vector<std::unique_ptr<TokenFile>> all, int64_t seq, Documents documents)
    : files(std::move(all)), seq(seq), documents(documents), before(files.size()) {
  firsts = {0};
  for (size_t i = 0; i < files.size(); ++i) {
    const TokenFile &file = *files[i];
    const bool join = documents == Documents::join;
    const int64_t own = join ? (file.count() - 1) / seq : countKept(i);
    if (file.count() < 1 || own < 1)
      throw InputError("'" + file.path() + "' holds " + std::to_string(file.count()) + " tokens" +
                       (join ? ", one window needs seq + 1 = " + std::to_string(seq + 1) +
                                   "; use a longer file or a smaller seq in --bind"
                             : " and no document of two or more; use --documents join"));
    firsts.push_back(firsts.back() + own);
  }
}

int64_t Windows::tokens() const {
  int64_t sum = 0;
  for (const auto &file : files)
    sum += file->count();
  return sum;
}

int64_t Windows::countKept(size_t i) {
  const TokenFile &file = *files[i];
  int64_t count = 0;
  std::array<int64_t, kStride + 1> starts;
  for (int64_t first = 0; first < file.documents(); first += kStride) {
    const int64_t n = std::min(kStride, file.documents() - first);
    file.documentStarts(first, n, starts.data());
    before[i].push_back(count);
    for (int64_t d = 0; d < n; ++d)
      count += windowsOf(starts[d + 1] - starts[d], seq);
  }
  return count;
}

Windows::Window Windows::kept(size_t i, int64_t number) const {
  const TokenFile &file = *files[i];
  const int64_t block =
      std::upper_bound(before[i].begin(), before[i].end(), number) - before[i].begin() - 1;
  const int64_t first = block * kStride, n = std::min(kStride, file.documents() - first);
  std::array<int64_t, kStride + 1> starts;
  file.documentStarts(first, n, starts.data());
  int64_t left = number - before[i][block], document = 0;
  for (int64_t own; left >= (own = windowsOf(starts[document + 1] - starts[document], seq));
       ++document)
    left -= own;
  const int64_t begin = starts[document] + left * seq;
  return {&file, begin, std::min(seq + 1, starts[document + 1] - begin)};
}

Windows::Window Windows::at(int64_t number) const {
  const size_t i = std::upper_bound(firsts.begin(), firsts.end(), number) - firsts.begin() - 1;
  number -= firsts[i];
  if (documents == Documents::keep)
    return kept(i, number);
  return {files[i].get(), number * seq, seq + 1};
}

} // namespace moire::rt
