//===- cut_log.cpp - The log of a run that goes on ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/cut_log.h"
#include "moire/rt/memory.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace moire::rt {

void cutLog(const std::string &path, int64_t step) {
  std::ifstream log(path);
  if (!log)
    return;
  const std::string temporary = path + ".tmp";
  std::ofstream kept(temporary);
  for (std::string line; std::getline(log, line) && !log.eof();) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && !(entry.contains("step") && entry["step"].is_number_integer() &&
                               entry["step"].get<int64_t>() > step))
      kept << line << '\n';
  }
  kept.close();
  if (!kept || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(temporary.c_str());
    throw InputError("cannot write --log '" + path + "': " + why);
  }
}

} // namespace moire::rt
