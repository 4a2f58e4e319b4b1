//===- Clusters.h - Which elementwise ops become one kernel --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One walk in program order, each op joining clusters of its own shape: those
// that make its operands, and those that read an operand of its. A cluster runs
// at the place of its last op, so it is open to more ops only until something
// outside needs one of its results: that alone rules out cycles. Afterwards,
// values that one cluster would store for another are computed again where
// that reads nothing more.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_CLUSTERS_H
#define MOIRE_LIB_PROGRAM_CLUSTERS_H

#include "Folds.h"
#include "llvm/ADT/SetVector.h"

namespace moire::program {

struct Cluster {
  llvm::SetVector<mlir::Operation *> ops; ///< that this kernel computes
  llvm::SmallVector<mlir::Value> results; ///< those of them that are stored
  mlir::Operation *position = nullptr;    ///< the kernel runs before this op
};

/// The kernels of a function in program order. An op can be in several of them;
/// every value that something outside reads is stored by exactly one.
std::vector<Cluster> findClusters(mlir::func::FuncOp func, const Folds &folds);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_CLUSTERS_H
