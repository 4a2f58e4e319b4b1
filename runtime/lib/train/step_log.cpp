//===- step_log.cpp - The log: one JSON object a step ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/step_log.h"
#include "moire/rt/context.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

namespace moire::rt {

/// JSON has no NaN.
static std::string number(double v) {
  if (!std::isfinite(v))
    return "null";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

StepLog::StepLog(const std::string &path, const char *flag, bool append)
    : path(path), flag(flag), file(std::fopen(path.c_str(), append ? "a" : "w")) {
  if (!file)
    throw InputError(std::string("cannot write ") + flag + " '" + path +
                     "': " + std::strerror(errno));
}

StepLog::~StepLog() { std::fclose(file); }

void StepLog::line(const std::string &text) {
  std::fputs((text + "\n").c_str(), file);
  if (std::fflush(file) != 0)
    throw RunError(std::string("cannot write ") + flag + " '" + path +
                   "': " + std::strerror(errno));
}

void StepLog::step(const StepRecord &r) {
  std::string text = "{\"step\": " + std::to_string(r.step);
  auto real = [&](const char *name, double value) {
    text += std::string(", \"") + name + "\": " + number(value);
  };
  auto whole = [&](const char *name, int64_t value) {
    text += std::string(", \"") + name + "\": " + std::to_string(value);
  };
  real("loss", r.loss);
  real("lr", r.lr);
  real("grad_norm", r.gradNorm);
  if (r.seq)
    whole("seq", r.seq);
  whole("tokens", r.tokens);
  real("tokens_per_second", r.tokensPerSecond);
  real("seconds", r.seconds);
  whole("tokens_seen", r.tokensSeen);
  if (r.mfu)
    real("mfu", *r.mfu);
  if (r.hfu)
    real("hfu", *r.hfu);
  whole("memory", r.memory);
  whole("memory_peak", r.memoryPeak);
  if (!r.routers.empty()) {
    text += ", \"routers\": [";
    for (const RouterLoad &router : r.routers) {
      text += (&router == r.routers.data() ? "{\"name\": " : ", {\"name\": ") +
              nlohmann::json(router.name).dump() + ", \"tokens\": [";
      for (size_t e = 0; e < router.tokens.size(); ++e)
        text += (e ? ", " : "") + std::to_string(router.tokens[e]);
      text += "]";
      real("max_over_mean", router.maxOverMean());
      whole("dropped", router.dropped);
      text += "}";
    }
    text += "]";
  }
  if (!r.groups.empty()) {
    text += ", \"groups\": [";
    for (const GroupReport &group : r.groups) {
      text += (&group == r.groups.data() ? "{\"name\": " : ", {\"name\": ") +
              nlohmann::json(group.name).dump() +
              (group.trained ? ", \"trained\": true" : ", \"trained\": false");
      if (group.updateNorm)
        real("update_norm", *group.updateNorm);
      text += "}";
    }
    text += "]";
  }
  line(text + "}");
}

void StepLog::evaluation(int64_t step, double loss, int64_t rows, double seconds) {
  line("{\"step\": " + std::to_string(step) + ", \"eval_loss\": " + number(loss) +
       ", \"eval_rows\": " + std::to_string(rows) + ", \"eval_seconds\": " + number(seconds) + "}");
}

} // namespace moire::rt
