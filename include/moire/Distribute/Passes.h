//===- Passes.h - From one rank's program to that of a mesh --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DISTRIBUTE_PASSES_H
#define MOIRE_DISTRIBUTE_PASSES_H

#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include <string>

namespace moire::distribute {

#define GEN_PASS_DECL
#include "lib/Distribute/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Distribute/Passes.h.inc"

/// What a user asks of the distribute phase; moirec's flags of the same names.
struct DistributeOptions {
  std::string mesh; ///< "dp=2,ep=4,tp=2"; empty: one rank
  double expertSlots = 0; ///< rows that a rank has room for / pairs of a rank; 0: all that can come
  int64_t zero = 0; ///< what dp and ep ranks divide: 1 state, 2 gradients, 3 parameters too
};

/// The training step of one rank ~~> that of each rank of the mesh.
void buildDistributePipeline(mlir::OpPassManager &passes, const DistributeOptions &options);

} // namespace moire::distribute

#endif // MOIRE_DISTRIBUTE_PASSES_H
