//===- windows.h - Token files cut into windows ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WINDOWS_H
#define MOIRE_RT_WINDOWS_H

#include "train/token_files/token_file.h"

#include <memory>
#include <vector>

namespace moire::rt {

/// Of which each token is in one as a label, but for the first token of what is cut.
enum class Documents : uint8_t {
  join, ///< a file is cut as a whole, what is left at its end is in none
  keep, ///< each document is cut by itself; its last window may be shorter
};

/// The windows of seq + 1 tokens of some files, numbered through: each begins with the last token
/// of the one before.
class Windows {
public:
  struct Window {
    const TokenFile *file;
    int64_t begin, tokens; ///< 2 … seq + 1 of them
  };

  /// Throws InputError for a file with no window.
  Windows(std::vector<std::unique_ptr<TokenFile>> files, int64_t seq, Documents documents);

  int64_t count() const { return firsts.back(); }
  int64_t tokens() const;
  int64_t numFiles() const { return int64_t(files.size()); }
  Window at(int64_t number) const;

private:
  int64_t countKept(size_t file);
  Window kept(size_t file, int64_t number) const;

  std::vector<std::unique_ptr<TokenFile>> files;
  int64_t seq;
  Documents documents;
  std::vector<int64_t> firsts; ///< number of each file's first window, and of all
  /// With keep: of each file, windows before every kStride-th document.
  std::vector<std::vector<int64_t>> before;
};

} // namespace moire::rt

#endif // MOIRE_RT_WINDOWS_H
