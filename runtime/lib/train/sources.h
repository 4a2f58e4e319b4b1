//===- sources.h - The kinds of data --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SOURCES_H
#define MOIRE_RT_SOURCES_H

#include "train/data.h"

namespace moire::rt {

/// input_N.pb and labels.pb: one batch of batch × micro-batches × rounds × shards rows, used at
/// every step, of which one with fewer micro-batches takes the first ones.
std::unique_ptr<DataSource> openFolder(const std::string &path, const Program &program,
                                       int64_t rounds, int64_t shards);
/// Whether there are folders and no input_N.pb in it.
bool isFolderOfFolders(const std::string &path);
/// Folders of that kind, each of the same number of rows, in an order shuffled each epoch.
std::unique_ptr<DataSource> openFolders(const std::string &path, const Program &program,
                                        uint64_t seed);
/// Windows of seq + 1 tokens of token files.
std::unique_ptr<DataSource> openTokens(const DataOptions &options, const Program &program,
                                       int64_t rounds, int64_t shards);

} // namespace moire::rt

#endif // MOIRE_RT_SOURCES_H
