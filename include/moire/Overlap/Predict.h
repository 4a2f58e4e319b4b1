//===- Predict.h - How long a micro-batch takes, and what hides what -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_PREDICT_H
#define MOIRE_OVERLAP_PREDICT_H

#include "mlir/IR/BuiltinOps.h"
#include "moire/Overlap/OpCost.h"
#include "llvm/ADT/DenseMap.h"

namespace moire::overlap {

/// One collective of a micro-batch.
struct Hidden {
  double seconds = 0; ///< on the network
  double hidden = 0;  ///< of these, in which the rank computes
  std::string by;     ///< the op that most of it is computed in, with its ONNX node
};

/// Times in seconds, of the list scheduler's two resources in the order of the ops.
struct Prediction {
  double seconds = 0;   ///< of a micro-batch
  double computing = 0; ///< of these
  double moving = 0;    ///< all collectives, one after another
  double experts = 0;   ///< of computing, products of experts
  double rows = 0;      ///< of moving, rows to experts and back
  double exposed() const { return seconds - computing; }
  llvm::DenseMap<mlir::Operation *, Hidden> collectives; ///< of those that are in an async
};

/// Of @micro_step after phase overlap, or before it, where a rank waits for each collective.
Prediction predict(mlir::ModuleOp module, const Rates &rates);

/// Seconds of each op of these functions, with experts' rows spread evenly over ranks.
llvm::DenseMap<mlir::Operation *, double> evenTimes(mlir::ModuleOp module, const Rates &rates);
/// Of a block's ops in their order, with what runs at once.
struct InOrder {
  double seconds = 0;
  /// By task of a pair: when what it sends is published; the end where it is not before.
  double outputs[2] = {0, 0};
};
InOrder timesInOrder(mlir::Block &block, const Rates &rates);
/// All ops of a block one after another: seconds, and of these of collectives.
std::pair<double, double> oneAfterAnother(mlir::Block &block, const Rates &rates);

/// "hidden 80 % by nn.matmul node_linear_3", for a collective's line of --explain.
std::string describe(const Prediction &prediction, mlir::Operation *collective);
/// The last line of --explain.
std::string summary(const Prediction &prediction);

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_PREDICT_H
