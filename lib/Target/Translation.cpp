//===- Translation.cpp - --exec-to-cpp of moire-translate ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"
#include "moire/Support/Dialects.h"
#include "moire/Target/Program.h"
#include "mlir/Tools/mlir-translate/Translation.h"

using namespace mlir;

void moire::target::registerExecToCpp() {
  TranslateFromMLIRRegistration registration(
      "exec-to-cpp", "print the C++ of a program in the exec dialect",
      [](ModuleOp module, llvm::raw_ostream &os) -> LogicalResult {
        auto sources = emitSources(module, EmitOptions());
        if (failed(sources))
          return failure();
        for (const SourceFile &source : *sources)
          os << "//===--- " << source.path << " ---===//\n" << source.text << "\n";
        return success();
      },
      [](DialectRegistry &registry) { registerDialects(registry); });
}
