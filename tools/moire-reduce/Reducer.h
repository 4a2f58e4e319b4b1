//===- Reducer.h - Finds a small module that is still interesting -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIRE_REDUCE_REDUCER_H
#define MOIRE_TOOLS_MOIRE_REDUCE_REDUCER_H

#include "Edits.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/OwningOpRef.h"

namespace moire::reduce {

/// Runs a script on modules and keeps the smallest one that it finds interesting.
class Reducer {
public:
  /// `resources`: what the module's file held beside it, as a reproducer's pipeline.
  Reducer(mlir::ModuleOp module, const mlir::FallbackAsmResourceMap &resources, std::string script)
      : best(module.clone()), resources(resources), script(std::move(script)) {}

  /// Applies edits until none is left that keeps the module interesting. An error's sentence where
  /// the module was not interesting to begin with or the script cannot be run; else empty.
  std::string run();

  void print(llvm::raw_ostream &os) const { print(*best, os); }
  int64_t runs() const { return scriptRuns; }

private:
  /// Tries all edits of one kind, many at once and then fewer. Whether one was kept.
  bool tryAll(EditsOf *editsOf);
  bool isInteresting(mlir::ModuleOp module);
  void print(mlir::ModuleOp module, llvm::raw_ostream &os) const;

  mlir::OwningOpRef<mlir::ModuleOp> best;
  const mlir::FallbackAsmResourceMap &resources;
  std::string script, error;
  int64_t scriptRuns = 0;
  /// Locations hold the names of ONNX nodes, which some passes read.
  bool printLocations = false;
};

} // namespace moire::reduce

#endif // MOIRE_TOOLS_MOIRE_REDUCE_REDUCER_H
