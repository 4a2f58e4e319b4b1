//===- HostRates.h - What this machine's kernels reach ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_HOSTRATES_H
#define MOIRE_TOOLS_PLAN_HOSTRATES_H

#include <string>
#include <vector>

namespace moire::plan {

/// One measurement: the fastest of several calls.
struct Measured {
  std::string what;
  double seconds = 0;
  double rate = 0; ///< FLOP/s or bytes/s, see `isFlops`; 0: the time itself is the result
  bool isFlops = true;
};

/// Rates of the trainers' own kernels on `threads` threads. FLOP/s and bytes/s.
struct HostRates {
  int threads = 0;
  /// Independent multiply-adds in registers: float32, and bf16 where the processor multiplies it.
  double peak = 0;
  double matmulF32 = 0, matmulBf16 = 0; ///< products of large dimensions
  /// A product whose smallest dimension is d reaches d / (d + matmulHalf) of that.
  double matmulHalf = 0;
  double grouped = 1; ///< experts' products over single products of their size
  double attention = 0, attentionBackward = 0;
  double bandwidth = 0;     ///< memory read and written by all threads
  double kernelTraffic = 0; ///< what norms, which only move data, reach
  double overhead = 0;      ///< seconds of a kernel on next to nothing
  double linkBandwidth = 0; ///< one thread copies what another has just written
  double linkLatency = 0;   ///< one thread sees what another writes
  double memory = 0;        ///< bytes of the machine
  std::vector<Measured> measured;
};

/// Shapes are fixed, data is random. About ten seconds.
HostRates measureHost(int threads);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_HOSTRATES_H
