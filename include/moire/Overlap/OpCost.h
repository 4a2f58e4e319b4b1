//===- OpCost.h - How long ops and collectives take ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_OPCOST_H
#define MOIRE_OVERLAP_OPCOST_H

#include "dialects/dist/Dist.h"
#include <string>

namespace moire::overlap {

/// Seconds that an op was measured to take: these count instead of the model's.
inline constexpr llvm::StringLiteral kSecondsAttr = "pipe.seconds";

/// What a rank reaches. The defaults are a few cores of a server and 25 Gbit/s: only
/// ratios matter for the order of ops.
struct Rates {
  double flops = 100e9;    ///< FLOP/s of matrix products
  double memory = 20e9;    ///< bytes/s of what moves and of elementwise kernels
  double overhead = 2e-6;  ///< seconds that any kernel takes besides
  double bandwidth = 3e9;  ///< bytes/s out of a rank
  double latency = 10e-6;  ///< seconds that a message takes besides

  /// Reads "flops=100,memory=20,overhead=2,bandwidth=3,latency=10": GFLOP/s, GB/s and
  /// microseconds; what is not named stays. An empty string, or what is wrong.
  std::string parse(llvm::StringRef text);
};

/// Seconds of an op that is no collective. 0 for one that takes no kernel: constants,
/// reads of parameters, reshapes. Products take max(arithmetic, memory), all else its
/// memory; an update reads and writes the rank's piece of value and state. part: of the rows that its operands have room for, those that are there.
double secondsOf(mlir::Operation *op, const Rates &rates, double part = 1);

/// Bytes that a rank sends in a collective to the others of its group; 0 for an op that is
/// none. rows: those that go to others' experts, where that is known; else spread evenly.
double bytesSent(mlir::Operation *op, std::optional<int64_t> rows = {});
/// Seconds of a collective alone on the network: bytesSent() and the latency of its messages.
double transferSeconds(mlir::Operation *op, const Rates &rates, std::optional<int64_t> rows = {});

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_OPCOST_H
