//===- BatchAuto.cpp - moirec --bind NAME=auto ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "BatchAuto.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <cstdlib>

using namespace moire;
using llvm::StringRef;

/// "16GB" or "64GiB" in bytes; 0 where it is none.
static double readSize(StringRef text) {
  static const std::pair<const char *, double> units[] = {
      {"KiB", 1024.}, {"MiB", 1048576.}, {"GiB", 1073741824.}, {"TiB", 1099511627776.},
      {"kB", 1e3},    {"MB", 1e6},       {"GB", 1e9},          {"TB", 1e12}};
  for (const auto &[unit, bytes] : units)
    if (StringRef number = text; number.consume_back(unit)) {
      double value;
      return !number.getAsDouble(value) && std::isfinite(value) && value > 0 ? value * bytes : 0;
    }
  return 0;
}

static std::string sizeText(int64_t bytes) {
  if (bytes >= 1000000000)
    return llvm::formatv("{0:f2} GB", bytes * 1e-9);
  if (bytes >= 1000000)
    return llvm::formatv("{0:f1} MB", bytes * 1e-6);
  return llvm::formatv("{0:f1} kB", bytes * 1e-3);
}

/// What a rank of the program for this size holds; -1 where it does not compile.
static int64_t memoryOf(const CompileOptions &options, const target::EmitOptions &emit,
                        std::string &bind, StringRef name, int64_t size,
                        mlir::MLIRContext &context) {
  bind = (name + "=" + llvm::Twine(size)).str();
  auto module = runPhases(options, context);
  if (!module)
    return -1;
  auto bytes = target::memoryOfRank(*module, emit);
  return failed(bytes) ? -1 : *bytes;
}

std::optional<std::string> moire::chooseBatch(CompileOptions &options,
                                              const target::EmitOptions &emit,
                                              const std::string &limit, mlir::MLIRContext &context,
                                              std::string &report) {
  std::string name;
  size_t at = 0;
  for (size_t i = 0; i < options.bind.size(); ++i) {
    StringRef bind = options.bind[i];
    if (!bind.consume_back("=auto"))
      continue;
    if (!name.empty())
      return "--bind has " + name + "=auto and " + bind.str() +
             "=auto; leave one size to the compiler";
    name = bind.str();
    at = i;
  }
  if (name.empty())
    return limit.empty() ? std::nullopt
                         : std::optional<std::string>(
                               "--memory-limit is for a size that the compiler chooses; write "
                               "--bind batch=auto, or leave --memory-limit out");
  if (limit.empty())
    return "--bind " + name + "=auto takes the largest size that fits; say into what, as "
           "--memory-limit 16GB";
  const double most = readSize(limit);
  if (most == 0)
    return "--memory-limit '" + limit + "' is no size; write for example 16GB or 64GiB";

  CompileOptions trial = options;
  trial.stopAfter = Phase::program;
  trial.dumpPhases.clear();
  trial.placement.clear();
  trial.explain = trial.explainOverlap = false;
  auto needs = [&](int64_t size) {
    return memoryOf(trial, emit, trial.bind[at], name, size, context);
  };
  // Memory grows with the size: double it until it is too much, then halve the gap.
  int64_t fits = 0, bytes = 0, tooLarge = 0, above = 0;
  for (int64_t size = 1; tooLarge == 0 && size <= int64_t(1) << 20; size *= 2) {
    const int64_t need = needs(size);
    if (need < 0)
      return std::string();
    (double(need) <= most ? fits : tooLarge) = size;
    (double(need) <= most ? bytes : above) = need;
  }
  if (fits == 0)
    return "--memory-limit " + limit + " is too little: with " + name + "=1 a rank holds " +
           sizeText(above) + "; allow that, or divide the model over more ranks by --mesh";
  while (tooLarge - fits > 1) {
    const int64_t size = fits + (tooLarge - fits) / 2, need = needs(size);
    if (need < 0)
      return std::string();
    (double(need) <= most ? fits : tooLarge) = size;
    (double(need) <= most ? bytes : above) = need;
  }
  options.bind[at] = name + "=" + std::to_string(fits);
  report = name + "=" + std::to_string(fits) + ": a rank holds " + sizeText(bytes);
  if (tooLarge > 0)
    report += "; with " + std::to_string(tooLarge) + " it would hold " + sizeText(above);
  return std::nullopt;
}
