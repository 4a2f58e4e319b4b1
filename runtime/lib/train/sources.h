//===- sources.h - The two kinds of data ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SOURCES_H
#define MOIRE_RT_SOURCES_H

#include "train/data.h"

namespace moire::rt {

/// input_N.pb and labels.pb: one batch of batch × accumulate × shards rows, of which a step
/// with fewer micro-batches takes the first ones.
std::unique_ptr<DataSource> openFolder(const std::string &path,
                                       const Program &program,
                                       int64_t accumulate, int64_t shards);
/// Windows of seq + 1 tokens of an llm.c .bin file or of a file's bytes.
std::unique_ptr<DataSource> openTokens(const std::string &path, const Program &program,
                                       uint64_t seed);

} // namespace moire::rt

#endif // MOIRE_RT_SOURCES_H
