//===- Explain.h - Why ranks talk, and how much ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DISTRIBUTE_EXPLAIN_H
#define MOIRE_DISTRIBUTE_EXPLAIN_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Operation.h"
#include <optional>
#include <string>
#include <vector>

namespace moire::distribute {

/// One collective of a distributed program.
struct Collective {
  mlir::Operation *op;
  std::string part;   ///< forward, backward or step
  std::string reason; ///< the rule that put it there
  std::string node;   ///< the ONNX node; empty where there is none
  int64_t ranks;      ///< of its group
  /// What a rank sends to others: of rows to experts if they spread evenly.
  double bytes;
};

/// The collectives of @micro_step, @reduce_gradients and @optimizer_step, in their order.
std::vector<Collective> findCollectives(mlir::ModuleOp module);

/// Prints them as a table, with the sums per micro-batch and per step. beside: what runs
/// beside a collective, for the end of its line; without it a rank waits for each.
void explainCollectives(mlir::ModuleOp module, llvm::raw_ostream &os,
                        llvm::function_ref<std::string(mlir::Operation *)> beside = {});

} // namespace moire::distribute

#endif // MOIRE_DISTRIBUTE_EXPLAIN_H
