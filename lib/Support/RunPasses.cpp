//===- RunPasses.cpp - Passes that leave behind how they failed ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Support/RunPasses.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include <csignal>

using namespace mlir;

namespace {

/// What is known of a run when it has failed.
struct Watched {
  std::string pass;      ///< the one that runs, or ran last
  std::string lastError; ///< the newest error of the diagnostics
  bool isOurFault = false;
};

/// The error that the verifier has for `op`; empty for none.
std::string verifierError(Operation *op) {
  std::string first;
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
    if (first.empty() && diagnostic.getSeverity() == DiagnosticSeverity::Error)
      first = diagnostic.str();
  });
  (void)verify(op);
  return first;
}

class Watch : public PassInstrumentation {
public:
  explicit Watch(Watched &watched) : watched(watched) {}

  void runBeforePass(Pass *pass, Operation *) override {
    if (StringRef name = pass->getArgument(); !name.empty()) // else it holds other passes
      watched.pass = name.str();
  }

  void runAfterPassFailed(Pass *pass, Operation *op) override {
    // The pass itself may have refused something and left the IR half-done: only what the verifier
    // was the one to say is a fault.
    if (pass->getArgument().starts_with("verify-") || watched.lastError.empty() ||
        watched.lastError == verifierError(op))
      watched.isOurFault = true;
  }

private:
  Watched &watched;
};

void writeReproducer(llvm::raw_ostream &os, const PassManager &passes, ModuleOp module) {
  std::string pipeline;
  llvm::raw_string_ostream text(pipeline);
  text << "builtin.module(";
  llvm::interleave(
      passes, [&](const Pass &pass) { const_cast<Pass &>(pass).printAsTextualPipeline(text); },
      [&] { text << ","; });
  text << ")";
  // With locations: they carry the names of ONNX nodes, by which some passes choose ops.
  AsmState state(module, OpPrintingFlags().enableDebugInfo(true, false));
  state.attachResourcePrinter("mlir_reproducer", [&](Operation *, AsmResourceBuilder &builder) {
    builder.buildString("pipeline", pipeline);
    builder.buildBool("disable_threading", true);
    builder.buildBool("verify_each", true);
  });
  module->print(os, state);
}

/// Writes it and returns its name; an empty name and a sentence on stderr where that fails.
std::string writeReproducer(StringRef path, const PassManager &passes, ModuleOp module) {
  SmallString<64> name(path);
  int file;
  const std::error_code code =
      path.empty() ? llvm::sys::fs::createUniqueFile("moire-crash-%%%%%%.mlir", file, name)
                   : llvm::sys::fs::openFileForWrite(path, file);
  if (code) {
    llvm::errs() << "error: cannot write '" << (path.empty() ? "moire-crash-XXXXXX.mlir" : path)
                 << "', which would show the failure again: " << code.message() << "\n";
    return {};
  }
  llvm::raw_fd_ostream os(file, /*shouldClose=*/true);
  writeReproducer(os, passes, module);
  return std::string(name);
}

/// Where a stack has overflown there is no room on it for the handler: it takes the other one,
/// which llvm::InitLLVM made.
void handleOverflows() {
  struct sigaction action;
  if (sigaction(SIGSEGV, nullptr, &action) == 0) {
    action.sa_flags |= SA_ONSTACK;
    (void)sigaction(SIGSEGV, &action, nullptr);
  }
}

} // namespace

LogicalResult moire::runPasses(PassManager &passes, ModuleOp module, StringRef reproducer) {
  Watched watched;
  passes.addInstrumentation(std::make_unique<Watch>(watched));
  // Passes change the module in place.
  OwningOpRef<ModuleOp> before(module.clone());
  LogicalResult result = failure();
  llvm::CrashRecoveryContext recovery;
  llvm::CrashRecoveryContext::Enable();
  handleOverflows();
  bool crashed;
  {
    ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        watched.lastError = diagnostic.str();
      return failure(); // the tool's own handler prints it
    });
    crashed = !recovery.RunSafely([&] { result = passes.run(module); });
  }
  llvm::CrashRecoveryContext::Disable();
  if (succeeded(result))
    return success();
  const bool isOurFault = crashed || watched.isOurFault || watched.lastError.empty();
  if (!isOurFault && reproducer.empty())
    return failure();

  const std::string file = writeReproducer(reproducer, passes, *before);
  const std::string again = file.empty() ? "" : "moire-opt " + file + " --run-reproducer";
  if (!isOurFault) {
    if (!file.empty())
      llvm::errs() << "note: to see it again: " << again << "\n";
    return failure();
  }
  llvm::errs() << "error: " << (watched.pass.empty() ? "a pass" : "pass " + watched.pass)
               << (crashed ? " crashed (signal " + std::to_string(recovery.RetCode - 128) + ")"
                   : watched.lastError.empty() ? std::string(" failed without a word")
                                               : " went wrong: " + watched.lastError)
               << ", which is a fault of the compiler and not of its input";
  if (!file.empty())
    llvm::errs() << "; to see it again: " << again;
  llvm::errs() << "\n";
  llvm::outs().flush();
  llvm::sys::Process::Exit(kCompilerFailed, /*NoCleanup=*/true);
}
