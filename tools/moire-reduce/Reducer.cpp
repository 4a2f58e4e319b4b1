//===- Reducer.cpp - Finds a small module that is still interesting ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Reducer.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace moire::reduce;

void Reducer::print(ModuleOp module, llvm::raw_ostream &os) const {
  AsmState state(module, OpPrintingFlags().enableDebugInfo(printLocations), nullptr,
                 const_cast<FallbackAsmResourceMap *>(&resources));
  module->print(os, state);
  os << "\n";
}

bool Reducer::isInteresting(ModuleOp module) {
  {
    // What does not verify cannot be read back, and would fail for that alone.
    ScopedDiagnosticHandler silent(module.getContext(), [](Diagnostic &) {});
    if (!error.empty() || failed(verify(module)))
      return false;
  }
  SmallString<128> path;
  int file;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("moire-reduce", "mlir", file, path)) {
    error = "cannot write a temporary file: " + code.message();
    return false;
  }
  llvm::FileRemover remove(path);
  {
    llvm::raw_fd_ostream os(file, /*shouldClose=*/true);
    print(module, os);
  }
  ++scriptRuns;
  std::string why;
  const std::optional<StringRef> nowhere(""), here; // what is wrong with the script shows once
  const int code =
      llvm::sys::ExecuteAndWait(script, {script, path}, std::nullopt,
                                {nowhere, nowhere, scriptRuns > 1 ? nowhere : here}, 0, 0, &why);
  if (code == -1)
    error = "cannot run '" + script + "': " + why;
  return code == 0;
}

bool Reducer::tryAll(EditsOf *editsOf) {
  bool anyKept = false;
  size_t count = editsOf(*best).size();
  for (size_t chunk = count; chunk > 0; chunk /= 2) {
    for (size_t start = 0; start < count && error.empty();) {
      OwningOpRef<ModuleOp> trial(best->clone());
      const std::vector<Edit> edits = editsOf(*trial);
      bool changed = false;
      for (size_t i = start; i < std::min(start + chunk, count); ++i)
        changed |= edits[i]();
      if (changed && isInteresting(*trial)) {
        // What was left out had the numbers from `start` on, nearly always.
        best = std::move(trial);
        anyKept = true;
        const size_t left = editsOf(*best).size();
        if (left >= count)
          start += chunk;
        count = left;
      } else {
        start += chunk;
      }
    }
  }
  return anyKept;
}

std::string Reducer::run() {
  best->walk(
      [&](Operation *op) { printLocations |= bool(op->getLoc()->findInstanceOf<NameLoc>()); });
  if (!isInteresting(*best))
    return !error.empty()
               ? error
               : "'" + script + "' does not exit with 0 for the module as it is: nothing to reduce";
  if (printLocations) {
    printLocations = false;
    printLocations = !isInteresting(*best);
  }
  for (bool goesOn = true; goesOn;) {
    goesOn = false;
    for (EditsOf *editsOf : allEdits())
      goesOn |= tryAll(editsOf);
  }
  return error;
}
