//===- LogUtil.h - Steps of a log -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_LOGUTIL_H
#define MOIRE_RUNTIME_LOGUTIL_H

#include <nlohmann/json.hpp>

namespace moire::rt::test {

/// Takes out of a step what another run of the same program measures otherwise.
inline void dropMeasured(nlohmann::json &step) {
  for (const char *name : {"tokens_per_second", "seconds", "memory", "memory_peak"})
    step.erase(name);
}

} // namespace moire::rt::test

#endif
