//===- Units.h - Times and sizes as people write them ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_UNITS_H
#define MOIRE_TOOLS_PLAN_UNITS_H

#include "moire/Scheduling/Problem.h"
#include <sstream>
#include <string>
#include <vector>

namespace moire::plan {

using scheduling::Refusal;

/// The parts one after another, numbers with six digits.
template <class... T> std::string text(const T &...parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// What a problem's numbers are measured in: seconds and bytes where one of them was written with
/// a unit, else steps of time and activations that have no name.
struct Units {
  bool seconds = false;
  bool bytes = false;

  std::string time(double value) const;
  std::string memory(double value) const;
};

/// `18.65 s`, `57.6 ms`, `41.7 us`: four digits.
std::string secondsText(double value);
/// `74.5 GB`: three digits.
std::string bytes(double value);
/// `9.3 %` of a fraction.
std::string percent(double fraction);
/// Three digits and a unit for thousands, as in `3.35 TFLOP`; `unit` is what one is.
std::string scaled(double value, const std::string &unit);
/// `671 billion`: three digits.
std::string count(double value);
/// An integer with commas between thousands.
std::string thousands(double value);

/// Reads `57.6ms`, `2us`, `0.29s` (seconds; `named` becomes true) or `3` (as it stands).
/// `what` names the value in the refusal.
Refusal readTime(const std::string &text, const std::string &what, double &value, bool &named);
/// Reads `80GB`, `64GiB`, `512MiB`, `16B` (bytes) or `3`.
Refusal readBytes(const std::string &text, const std::string &what, double &value, bool &named);
/// Reads `40GB/s` or `3`.
/// A size above 0 as --memory-limit takes it.
Refusal readMemoryLimit(const std::string &word, double &value, bool &named);
Refusal readBandwidth(const std::string &text, const std::string &what, double &value, bool &named);
/// Reads a finite number of at least 0.
Refusal readNumber(const std::string &text, const std::string &what, double &value);

/// Of `names`, the one that is spelled most alike to `word`; empty if none is near.
std::string nearest(const std::string &word, const std::vector<std::string> &names);
/// `a, b, c`.
std::string list(const std::vector<std::string> &names);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_UNITS_H
