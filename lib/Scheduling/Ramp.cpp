//===- Ramp.cpp - How many micro-batches the steps of a run have ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Ramp.h"
#include "Text.h"
#include <charconv>
#include <set>

using namespace moire::scheduling;

static constexpr int64_t kMostMicroBatches = 1 << 20;

/// All of [begin, end) as a number, with or without a sign.
static bool readNumber(const char *begin, const char *end, int64_t &number) {
  auto [rest, error] = std::from_chars(begin, end, number);
  return error == std::errc() && rest == end;
}

Refusal moire::scheduling::parseRamp(const std::string &text, Ramp &ramp) {
  ramp.clear();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size()),
                 at = std::min(text.find('@', begin), end);
    RampEntry entry;
    const char *data = text.data();
    if (at == end || !readNumber(data + begin, data + at, entry.microBatches) ||
        !readNumber(data + at + 1, data + end, entry.after))
      return scheduling::text("has '", text.substr(begin, end - begin),
                              "'; write micro-batches@steps that are done before, as 4@0,8@1000");
    ramp.push_back(entry);
    begin = end + 1;
  }
  return check(ramp);
}

Refusal moire::scheduling::check(const Ramp &ramp) {
  if (ramp.empty())
    return text("has no entry; use at least one, after 0 steps");
  for (size_t i = 0; i < ramp.size(); ++i) {
    const auto &[microBatches, after] = ramp[i];
    if (microBatches < 1 || microBatches > kMostMicroBatches)
      return text("has ", microBatches, " micro-batches after ", after, " steps; use 1 to ",
                  kMostMicroBatches);
    if (i == 0 && after != 0)
      return text("begins after ", after, " steps, so that the first ones have no number of ",
                  "micro-batches; begin after 0");
    if (i > 0 && after <= ramp[i - 1].after)
      return text("has ", microBatches, " micro-batches after ", after, " steps, behind ",
                  ramp[i - 1].microBatches, " after ", ramp[i - 1].after, "; let the steps ascend");
  }
  return {};
}

std::vector<int64_t> moire::scheduling::countsOf(const Ramp &ramp) {
  std::set<int64_t> counts;
  for (const RampEntry &entry : ramp)
    counts.insert(entry.microBatches);
  return {counts.begin(), counts.end()};
}

int64_t moire::scheduling::microBatchesAfter(const Ramp &ramp, int64_t done) {
  int64_t count = ramp.front().microBatches;
  for (const RampEntry &entry : ramp)
    if (entry.after <= done)
      count = entry.microBatches;
  return count;
}
