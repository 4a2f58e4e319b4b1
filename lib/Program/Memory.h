//===- Memory.h - What of memory statements touch --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_MEMORY_H
#define MOIRE_LIB_PROGRAM_MEMORY_H

#include "dialects/exec/Exec.h"
#include "llvm/ADT/DenseSet.h"

namespace moire::program {

/// What of memory counts as one: a parameter's or a gradient's block by the parameter's name, else
/// the root's value.
using Memory = std::pair<const void *, int64_t>;
Memory memoryOf(mlir::Value place);

struct Touched {
  llvm::DenseSet<Memory> reads, writes;

  /// Of one statement, without those in its regions.
  explicit Touched(mlir::Operation &op);
};

/// The same, of an exec.async with what it starts.
Touched touchedBy(mlir::Operation &op);

bool meet(const llvm::DenseSet<Memory> &a, const llvm::DenseSet<Memory> &b);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_MEMORY_H
