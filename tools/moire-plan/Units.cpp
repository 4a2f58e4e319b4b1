//===- Units.cpp - Times and sizes as people write them ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Units.h"
#include "llvm/ADT/StringRef.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>

using namespace moire::plan;

/// `value` with `digits` digits that count, and no exponent below a million.
static std::string withDigits(double value, int digits) {
  if (!std::isfinite(value))
    return value > 0 ? "infinite" : "undefined";
  const double magnitude = value == 0 ? 0 : std::floor(std::log10(std::abs(value)));
  const int decimals = std::max(0, digits - 1 - static_cast<int>(magnitude));
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", std::min(decimals, 12), value);
  return buffer;
}

std::string moire::plan::secondsText(double value) {
  if (value == 0)
    return "0 s";
  const double size = std::abs(value);
  if (size >= 1)
    return withDigits(value, 4) + " s";
  if (size >= 1e-3)
    return withDigits(value * 1e3, 4) + " ms";
  return withDigits(value * 1e6, 4) + " us";
}

std::string moire::plan::bytes(double value) { return scaled(value, "B"); }

std::string moire::plan::percent(double fraction) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f %%", fraction * 100);
  return buffer;
}

std::string moire::plan::scaled(double value, const std::string &unit) {
  static const char *const kPrefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z", "Y"};
  int prefix = 0;
  while (prefix < 8 && std::abs(value) >= 1000) {
    value /= 1000;
    ++prefix;
  }
  const std::string number = value == 0 ? "0" : withDigits(value, 3);
  const std::string name = kPrefixes[prefix] + unit;
  return name.empty() ? number : number + " " + name;
}

std::string moire::plan::count(double value) {
  static const char *const kNames[] = {"", " million", " billion", " trillion"};
  if (value < 1e6)
    return thousands(value);
  int name = 0;
  for (const double step : {1e6, 1e9, 1e12})
    name += value >= step;
  return withDigits(value / std::pow(1000, name + 1), 3) + kNames[name];
}

std::string moire::plan::thousands(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.0f", value);
  std::string digits = buffer;
  for (int at = static_cast<int>(digits.size()) - 3; at > (digits[0] == '-' ? 1 : 0); at -= 3)
    digits.insert(at, ",");
  return digits;
}

std::string Units::time(double value) const {
  return seconds ? moire::plan::secondsText(value) : text(value);
}

std::string Units::memory(double value) const {
  return bytes ? moire::plan::bytes(value) : text(value);
}

namespace {
struct Suffix {
  const char *name;
  double factor;
};
} // namespace

static constexpr Suffix kTimes[] = {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}};
static constexpr Suffix kSizes[] = {{"B", 1},
                                    {"kB", 1e3},
                                    {"KB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"TB", 1e12},
                                    {"KiB", 1024.0},
                                    {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0},
                                    {"TiB", 1099511627776.0}};

template <size_t N>
static Refusal readWithUnit(const std::string &word, const std::string &what,
                            const Suffix (&suffixes)[N], const std::string &per,
                            const char *example, double &value, bool &named) {
  char *end = nullptr;
  const double number = std::strtod(word.c_str(), &end);
  std::string suffix = end;
  while (!suffix.empty() && suffix.front() == ' ')
    suffix.erase(0, 1);
  const std::string wrong = text(
      what, " '", word, "' is not a number of at least 0 with its unit; write it as ", example);
  if (end == word.c_str() || !std::isfinite(number) || number < 0)
    return wrong;
  if (suffix.empty()) {
    value = number;
    return {};
  }
  for (const Suffix &known : suffixes)
    if (suffix == known.name + per) {
      value = number * known.factor;
      named = true;
      return {};
    }
  return wrong;
}

Refusal moire::plan::readTime(const std::string &word, const std::string &what, double &value,
                              bool &named) {
  return readWithUnit(word, what, kTimes, "", "57.6ms, or 3 without a unit", value, named);
}

Refusal moire::plan::readBytes(const std::string &word, const std::string &what, double &value,
                               bool &named) {
  return readWithUnit(word, what, kSizes, "", "64GiB, or 3 without a unit", value, named);
}

Refusal moire::plan::readMemoryLimit(const std::string &word, double &value, bool &named) {
  if (Refusal refusal = readBytes(word, "--memory-limit", value, named))
    return refusal;
  if (value == 0)
    return text("--memory-limit ", word, " holds nothing; leave it out for no limit of your own");
  return {};
}

Refusal moire::plan::readBandwidth(const std::string &word, const std::string &what, double &value,
                                   bool &named) {
  return readWithUnit(word, what, kSizes, "/s", "50GB/s, or 3 without a unit", value, named);
}

Refusal moire::plan::readNumber(const std::string &word, const std::string &what, double &value) {
  char *end = nullptr;
  const double number = std::strtod(word.c_str(), &end);
  if (word.empty() || *end || !std::isfinite(number) || number < 0)
    return text(what, " '", word, "' is not a number of at least 0; use for example 1");
  value = number;
  return {};
}

std::string moire::plan::nearest(const std::string &word, const std::vector<std::string> &names) {
  std::string best;
  unsigned bestDistance = static_cast<unsigned>(word.size() / 2 + 2);
  for (const std::string &name : names) {
    const unsigned distance = llvm::StringRef(word).edit_distance_insensitive(name);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = name;
    }
  }
  return best;
}

std::string moire::plan::list(const std::vector<std::string> &names) {
  std::string all;
  for (const std::string &name : names)
    all += (all.empty() ? "" : ", ") + name;
  return all;
}
