//===- data_names.cpp - What --data and --mix name ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/data_names.h"
#include "moire/rt/memory.h"
#include "train/text.h"
#include "train/token_files/token_file.h"

#include <cmath>
#include <cstdio>
#include <glob.h>
#include <optional>

namespace moire::rt {

namespace {
bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

/// The whole text as a number.
std::optional<double> number(const std::string &text) {
  double value = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lf%c", &value, &rest) != 1)
    return std::nullopt;
  return value;
}

std::vector<std::string> filesOf(const std::string &name) {
  const std::string path = pathOfTokens(name);
  if (exists(path) || path.find_first_of("*?[") == std::string::npos)
    return {name};
  const std::string prefix = name.substr(0, name.size() - path.size());
  glob_t found = {};
  std::vector<std::string> files;
  if (glob(path.c_str(), 0, nullptr, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; ++i)
      files.push_back(prefix + found.gl_pathv[i]);
  globfree(&found);
  if (files.empty())
    throw InputError("--data has the pattern '" + path + "', and no file matches it");
  return files;
}

void checkWeights(const std::vector<double> &weights, const std::string &flag,
                  const std::string &text) {
  double sum = 0;
  for (double w : weights) {
    if (!(w >= 0) || !std::isfinite(w))
      throw InputError(flag + " '" + text + "' has a weight that is not a number of 0 or more");
    sum += w;
  }
  if (!(sum > 0) || !std::isfinite(sum))
    throw InputError(flag + " '" + text + "' has weights whose sum is " +
                     (sum > 0 ? "too large" : "0") + "; use at least one above 0");
}
} // namespace

std::vector<StreamName> parseDataNames(const std::string &text) {
  if (exists(pathOfTokens(text)))
    return {{text, {text}, 1}};
  if (text.empty())
    throw InputError("--data is empty; use a token file, a text file or a folder of tensors");
  std::vector<StreamName> streams;
  std::string with, without;
  std::vector<double> weights;
  for (const std::string &item : split(text, ',')) {
    const size_t colon = item.rfind(':');
    std::optional<double> weight;
    // The name may have colons, too; u16:5 is a file called 5.
    if (colon != std::string::npos && !exists(item) && pathOfTokens(item) == item)
      weight = number(item.substr(colon + 1));
    else if (colon != std::string::npos && !exists(item) && colon > 3)
      weight = number(item.substr(colon + 1));
    const std::string name = weight ? item.substr(0, colon) : item;
    if (name.empty())
      throw InputError("--data '" + text +
                       "' has an empty name; use FILE,FILE or "
                       "FILE:WEIGHT,FILE:WEIGHT");
    (weight ? with : without) = name;
    weights.push_back(weight.value_or(1));
    streams.push_back({name, filesOf(name), weights.back()});
  }
  if (!with.empty() && !without.empty())
    throw InputError("--data gives '" + with + "' a weight and '" + without +
                     "' none; give all of them one, or none");
  if (!with.empty()) {
    checkWeights(weights, "--data", text);
    return streams;
  }
  StreamName all{text, {}, 1};
  for (const StreamName &stream : streams)
    all.files.insert(all.files.end(), stream.files.begin(), stream.files.end());
  return {all};
}

bool countsRows(const std::string &change) {
  const std::string unit = "rows";
  return change.size() > unit.size() &&
         change.compare(change.size() - unit.size(), unit.size(), unit) == 0;
}

std::vector<MixChange> parseMix(const std::vector<std::string> &texts, int64_t streams,
                                const std::function<int64_t(int64_t)> &rowsOfSteps) {
  std::vector<MixChange> changes;
  for (const std::string &text : texts) {
    const size_t at = text.find('@');
    const std::string when = at == std::string::npos
                                 ? ""
                                 : text.substr(at + 1, text.size() - at - 1 - 4 * countsRows(text));
    const int64_t after = wholeNumber(when).value_or(0);
    if (after < 1)
      throw InputError("--mix has '" + text +
                       "'; use WEIGHT,WEIGHT@STEPS, weights once so many steps, 1 or more, are "
                       "done, or WEIGHT,WEIGHT@ROWSrows");
    MixChange change{countsRows(text) ? after : rowsOfSteps(after), {}};
    for (const std::string &item : split(text.substr(0, at), ','))
      change.weights.push_back(number(item).value_or(-1));
    checkWeights(change.weights, "--mix", text);
    if (int64_t(change.weights.size()) != streams)
      throw InputError(
          "--mix '" + text + "' has " + std::to_string(change.weights.size()) +
          " weights, --data has " + std::to_string(streams) +
          (streams == 1 ? " stream; give its files weights, as in A:0.7,B:0.3" : " streams"));
    if (!changes.empty() && change.firstRow <= changes.back().firstRow)
      throw InputError("--mix '" + text + "' begins at row " + std::to_string(change.firstRow) +
                       ", and the one before it at row " + std::to_string(changes.back().firstRow) +
                       "; use ascending steps");
    changes.push_back(change);
  }
  return changes;
}

} // namespace moire::rt
