//===- Translation.cpp - --exec-to-cpp and --exec-to-cuda ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/Tools/mlir-translate/Translation.h"
#include "dialects/exec/Exec.h"
#include "moire/Support/Dialects.h"
#include "moire/Target/Program.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

static void registerTarget(StringRef flag, StringRef description, TargetKind kind) {
  TranslateFromMLIRRegistration registration(
      flag, description,
      [kind](ModuleOp module, llvm::raw_ostream &os) -> LogicalResult {
        EmitOptions options;
        options.target = kind;
        auto sources = emitSources(module, options);
        if (failed(sources))
          return failure();
        for (const SourceFile &source : *sources)
          os << "//===--- " << source.path << " ---===//\n" << source.text << "\n";
        return success();
      },
      [](DialectRegistry &registry) { registerDialects(registry); });
}

void moire::target::registerExecToCpp() {
  registerTarget("exec-to-cpp", "print the C++ of a program in the exec dialect", TargetKind::cpu);
  registerTarget("exec-to-cuda", "print the C++ of a program for GPUs in the exec dialect",
                 TargetKind::cuda);
}
