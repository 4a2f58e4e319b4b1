//===- Passes.h - Collectives beside computation -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_PASSES_H
#define MOIRE_OVERLAP_PASSES_H

#include "dialects/dist/Dist.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace moire::overlap {

#define GEN_PASS_DECL
#include "lib/Overlap/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "lib/Overlap/Passes.h.inc"

/// Phase `overlap`. Changes nothing where the module has no mesh. rates: as
/// Rates::parse reads them.
void buildOverlapPipeline(mlir::OpPassManager &passes, const std::string &rates = "");

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_PASSES_H
