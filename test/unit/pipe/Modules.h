//===- Modules.h - Schedules in modules, for tests --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_PIPE_MODULES_H
#define MOIRE_TEST_PIPE_MODULES_H

#include "TestProblems.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "moire/Pipe/ScheduleIR.h"

namespace testproblems {

/// A context with the dialect, which keeps errors and their notes as `line: sentence`.
class Modules {
public:
  Modules()
      : handler(&context, [this](mlir::Diagnostic &diagnostic) {
          keep(diagnostic);
          for (mlir::Diagnostic &note : diagnostic.getNotes())
            keep(note);
          return mlir::success();
        }) {
    context.disableMultithreading();
    context.printOpOnDiagnostic(false);
    context.loadDialect<moire::pipe::PipeDialect>();
  }

  mlir::OwningOpRef<mlir::ModuleOp> build(const Problem &problem, const Schedule &schedule) {
    mlir::OpBuilder builder(&context);
    mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(builder.getUnknownLoc());
    builder.setInsertionPointToEnd(module->getBody());
    moire::buildSchedule(builder, builder.getUnknownLoc(), "step", problem, "test", schedule);
    return module;
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &source) {
    errors.clear();
    return mlir::parseSourceString<mlir::ModuleOp>(source, &context);
  }

  static std::string print(mlir::ModuleOp module, bool verified = false) {
    std::string out;
    llvm::raw_string_ostream stream(out);
    module->print(stream,
                  verified ? mlir::OpPrintingFlags().assumeVerified() : mlir::OpPrintingFlags());
    return out;
  }

  std::string errors;
  mlir::MLIRContext context;

private:
  mlir::ScopedDiagnosticHandler handler;

  void keep(mlir::Diagnostic &diagnostic) {
    std::string line;
    if (auto at = diagnostic.getLocation()->findInstanceOf<mlir::FileLineColLoc>())
      line = std::to_string(at.getLine()) + ": ";
    errors += (errors.empty() ? "" : "\n") + line + diagnostic.str();
  }
};

/// The only schedule of a module.
inline moire::pipe::ScheduleOp scheduleOf(mlir::ModuleOp module) {
  return *module.getOps<moire::pipe::ScheduleOp>().begin();
}

} // namespace testproblems

#endif // MOIRE_TEST_PIPE_MODULES_H
