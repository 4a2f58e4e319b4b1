//===- cut_log.h - The log of a run that goes on --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUT_LOG_H
#define MOIRE_RT_CUT_LOG_H

#include <cstdint>
#include <string>

namespace moire::rt {

/// Takes the lines of later steps than `step` out of a file of JSON objects, and a last line that
/// was not written to its end. Does nothing where there is no file. Throws InputError.
void cutLog(const std::string &path, int64_t step);

} // namespace moire::rt

#endif // MOIRE_RT_CUT_LOG_H
