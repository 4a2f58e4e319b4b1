//===- moirec.cpp - The compiler: an ONNX model becomes a trainer --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Frontend/ImportOnnx.h"
#include "moire/Frontend/Parameters.h"
#include "moire/Pipelines/Pipelines.h"
#include "moire/Support/Diagnostics.h"
#include "moire/Support/Dialects.h"
#ifdef MOIRE_HAS_TARGET
#include "moire/Target/Program.h"
#endif
#include "mlir/IR/AsmState.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

namespace cl = llvm::cl;
using namespace moire;

static cl::OptionCategory category("Options");
static cl::opt<std::string> model(cl::Positional, cl::Required, cl::desc("MODEL.onnx"),
                                  cl::cat(category));
static cl::list<std::string> bind("bind", cl::CommaSeparated, cl::value_desc("NAME=SIZE,..."),
                                  cl::desc("Sizes of the model's symbolic dimensions, the shape of "
                                           "one micro-batch: --bind batch=2,seq=10"),
                                  cl::cat(category));
static cl::opt<std::string>
    loss("loss", cl::init("auto"), cl::value_desc("KIND"),
         cl::desc("auto (default), next-token, token, class, mse or output:NAME"), cl::cat(category));
static cl::list<std::string> aux("aux", cl::CommaSeparated, cl::value_desc("NAME=WEIGHT,..."),
                                 cl::desc("Scalar outputs that are added to the loss"),
                                 cl::cat(category));
static cl::opt<std::string> optimizer("optimizer", cl::init("adamw"), cl::value_desc("KIND"),
                                      cl::desc("adamw (default) or sgd"), cl::cat(category));
static cl::opt<std::string> freeze("freeze", cl::value_desc("REGEX"),
                                   cl::desc("Do not train parameters whose names match"),
                                   cl::cat(category));
static cl::opt<bool> init("init",
                          cl::desc("Start from fresh weights; the weight file may be missing"),
                          cl::cat(category));
static cl::opt<std::string> targetName("target", cl::init("cpu"), cl::value_desc("NAME"),
                                       cl::desc("cpu (the only one so far)"), cl::cat(category));
static cl::opt<std::string> output("o", cl::value_desc("DIR"),
                                   cl::desc("Output folder: sources, trainer, plan. With "
                                            "--stop-after, the file for the IR (default stdout)"),
                                   cl::cat(category));
static cl::opt<std::string>
    stopAfter("stop-after", cl::value_desc("PHASE"),
              cl::desc("Print the IR after import, model, train, kernels or program and stop"),
              cl::cat(category));
static cl::opt<std::string> dumpPhases("dump-phases", cl::value_desc("DIR"),
                                       cl::desc("Write the IR after each phase into DIR"),
                                       cl::cat(category));
static cl::opt<bool> explainParams("explain-params",
                                   cl::desc("Print the table of parameters and stop unless -o is given"),
                                   cl::cat(category));
static cl::opt<bool> sourceOnly("source-only",
                                cl::desc("Write the output folder without compiling it"),
                                cl::cat(category));

/// One sentence to stderr and the exit code for wrong usage.
static int usageError(const llvm::Twine &sentence) {
  llvm::errs() << "error: " << sentence << "\n";
  return 1;
}

static int explain(mlir::MLIRContext &context) {
  frontend::ImportOptions options;
  options.allowMissingWeights = true;
  auto module = frontend::importOnnx(model, &context, options);
  if (!module)
    return 1;
  frontend::ParameterTable table = frontend::buildParameterTable(*module);
  std::string error;
  if (!freeze.empty()) {
    int64_t frozen = table.freeze(freeze, error);
    if (frozen < 0)
      return usageError("--freeze '" + freeze + "' is not a regular expression: " + error);
    if (frozen == 0)
      return usageError("--freeze '" + freeze + "' matches no parameter that is trained");
  }
  table.print(llvm::outs());
  for (const std::string &warning : table.warnings)
    llvm::errs() << "warning: " << warning << "\n";
  return 0;
}

static int printModule(mlir::ModuleOp module) {
  if (output.empty() || output == "-") {
    module.print(llvm::outs(), mlir::OpPrintingFlags().useLocalScope());
    return 0;
  }
  std::error_code ec;
  llvm::raw_fd_ostream os(output, ec);
  if (ec)
    return usageError("cannot write '" + output + "': " + ec.message());
  module.print(os, mlir::OpPrintingFlags().enableDebugInfo(true, false));
  return 0;
}

int main(int argc, char **argv) {
  llvm::InitLLVM initLLVM(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Moiré: compiles an ONNX model into a training program\n\n"
      "  moirec model.onnx --bind batch=2,seq=10 --optimizer adamw -o out/\n"
      "  out/trainer --data tokens.bin --steps 1000 --lr 3e-4\n");

  CompileOptions options;
  options.model = model;
  options.bind.assign(bind.begin(), bind.end());
  options.loss = loss;
  options.aux.assign(aux.begin(), aux.end());
  options.optimizer = optimizer;
  options.freeze = freeze;
  options.init = init;
  options.dumpPhases = dumpPhases;
  if (targetName != "cpu")
    return usageError("target '" + targetName + "' is not known; the only target is cpu");
  if (optimizer != "adamw" && optimizer != "sgd")
    return usageError("optimizer '" + optimizer + "' is not known; use adamw or sgd");
  bool stops = !stopAfter.empty();
  if (stops) {
    bool found = false;
    for (Phase phase : {Phase::import, Phase::model, Phase::train, Phase::kernels, Phase::program})
      if (phaseName(phase) == stopAfter) {
        options.stopAfter = phase;
        found = true;
      }
    if (!found)
      return usageError("phase '" + stopAfter +
                        "' is not known; use import, model, train, kernels or program");
  }
  if (!stops && !explainParams && output.empty() && dumpPhases.empty())
    return usageError("nothing to write; give an output folder with -o DIR, or --stop-after, "
                      "--dump-phases or --explain-params");

  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  UserDiagnostics diagnostics(&context);

  if (explainParams) {
    int code = explain(context);
    if (code || (output.empty() && !stops))
      return code;
  }
  auto module = runPhases(options, context);
  if (!module)
    return 1;
  if (stops)
    return printModule(*module);
  if (output.empty())
    return 0;

#ifdef MOIRE_HAS_TARGET
  target::EmitOptions emit;
  emit.output = output;
  emit.init = init;
  emit.compile = !sourceOnly;
  return target::emitProgram(*module, emit);
#else
  return usageError("no emission yet");
#endif
}
