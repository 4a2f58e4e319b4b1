//===- moire-run.cpp - Executes the IR of any phase ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Import.h"
#include "Report.h"
#include "mlir/Parser/Parser.h"
#include "moire/Interp/Training.h"
#include "moire/Overlap/Predict.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace moire;
using namespace moire::interp;
namespace cl = llvm::cl;

/// Exit codes.
enum { kDone = 0, kWrong = 1, kFailed = 2 };

static cl::OptionCategory category("moire-run options");
#define OPT(TYPE, NAME, FLAG, INIT, HELP)                                                          \
  static cl::opt<TYPE> NAME(FLAG, cl::desc(HELP), cl::init(INIT), cl::cat(category))
static cl::opt<std::string> input(cl::Positional, cl::desc("FILE.mlir"), cl::init("-"),
                                  cl::cat(category));
OPT(std::string, dataFlag, "data", "", "folder with input_N.pb and labels.pb");
static cl::list<std::string>
    bind("bind", cl::CommaSeparated, cl::cat(category),
         cl::desc("sizes of symbolic dimensions, as batch=2 (default: the data's)"));
OPT(std::string, modelDir, "model-dir", "", "folder of the weight files (default: the model's)");
OPT(std::string, function, "function", "",
    "the function to execute (default: micro_step, else forward, else the only one)");
OPT(bool, initFlag, "init", false, "fresh weights instead of the file's");
OPT(uint64_t, seed, "seed", 0, "seed of --init");
OPT(bool, f64, "f64", false, "compute in double precision whatever the types say");
OPT(bool, trace, "trace", false, "print each op's results to stderr");
OPT(std::string, outputs, "outputs", "", "folder to write output_N.pb to");
OPT(std::string, expect, "expect", "",
    "FILE.pb[:N]: compare with output N (default: the output of the tensor's name)");
OPT(double, rtolFlag, "rtol", 1e-4, "relative tolerance of --expect");
OPT(double, atolFlag, "atol", 1e-5, "absolute tolerance of --expect");
OPT(int64_t, steps, "steps", 1, "training steps");
OPT(int64_t, accumulate, "accumulate", 1,
    "micro-batches of a rank in a step; of a pipeline: how often its schedule runs");
OPT(double, lr, "lr", 1e-3, "learning rate");
OPT(double, beta1, "beta1", 0.9, "AdamW's beta1");
OPT(double, beta2, "beta2", 0.999, "AdamW's beta2");
OPT(double, eps, "eps", 1e-8, "AdamW's epsilon");
static cl::opt<double> weightDecay("weight-decay", cl::cat(category),
                                   cl::desc("decay (default: 0.01 for adamw, 0 for sgd)"));
OPT(std::string, decay, "decay", "all", "what decays: all or matrices");
OPT(double, momentum, "momentum", 0, "SGD's momentum");
OPT(double, clip, "clip", 0, "largest norm of the gradients (0: no clipping)");
OPT(std::string, optimizer, "optimizer", "", "what the IR's optimizer must be: sgd or adamw");
OPT(std::string, logFlag, "log", "", "JSON lines file, one object a step");
OPT(bool, virtualTime, "virtual-time", false,
    "report what a step takes by the rates: all, in collectives, and waiting for them");
OPT(bool, evenRows, "even-rows", false,
    "of --virtual-time: experts' rows are spread evenly, as the compiler predicts them, and not as "
    "the data sends them");
static cl::opt<std::string> overlapRates(
    "overlap-rates", cl::cat(category),
    cl::desc("of --virtual-time, what a rank reaches: flops=GFLOP/S, memory=GB/S, overhead=US, "
             "bandwidth=GB/S, latency=US (default: moirec's)"));
OPT(std::string, timelineFlag, "timeline", "",
    "of --virtual-time, what each rank does in the last step: a Chrome trace (for Perfetto)");
OPT(std::string, crashReproducer, "crash-reproducer", "",
    "where the conversion of phase import fails: the file for what it was given, which moire-opt FILE "
    "--run-reproducer runs again (default: moire-crash-XXXXXX.mlir in the current folder, only where "
    "the fault is the compiler's own)");
OPT(std::string, dumpGrads, "dump-grads", "", "safetensors file for the first step's gradients");

static int fail(const Twine &message, int code = kWrong) {
  llvm::errs() << "error: " << message << "\n";
  return code;
}

/// The folder that sources are relative to.
static std::string modelFolder(ModuleOp module) {
  if (!modelDir.empty())
    return modelDir;
  if (auto path = module->getAttrOfType<StringAttr>("moire.model_path"))
    return llvm::sys::path::parent_path(path.getValue()).str();
  return "";
}

static int runFunction(func::FuncOp func, Evaluator &evaluator, const DataFolder *data) {
  SmallVector<RuntimeValue> arguments, results;
  if (func.getNumArguments()) {
    if (!data)
      return fail("function @" + func.getSymName() + " takes inputs; give --data");
    auto made = makeArguments(func, *data);
    if (failed(made))
      return kWrong;
    arguments = std::move(*made);
  }
  if (failed(evaluator.run(func, arguments, results)))
    return kFailed;
  std::vector<NamedTensor> named;
  for (auto [i, result] : llvm::enumerate(results)) {
    if (!result.isTensor())
      continue;
    auto name = func.getResultAttrOfType<StringAttr>(i, "onnx.name");
    named.push_back({name ? name.str() : std::to_string(i), result.tensor()});
    printSummary(llvm::outs(), named.back());
  }
  std::string error;
  if (!outputs.empty()) {
    if (auto code = llvm::sys::fs::create_directories(outputs))
      return fail("cannot make the folder '" + outputs + "': " + code.message());
    for (auto [i, tensor] : llvm::enumerate(named)) {
      SmallString<256> path(outputs);
      llvm::sys::path::append(path, "output_" + Twine(i) + ".pb");
      if (!writeTensorProto(path, tensor, error))
        return fail(error);
    }
  }
  if (!expect.empty() && !isExpected(expect, named, rtolFlag, atolFlag, func.getContext(), error))
    return fail(error);
  return kDone;
}

static LogicalResult checkOptimizer(ModuleOp module) {
  WalkResult result = module.walk([&](pipe::UpdateOp op) -> WalkResult {
    StringRef kind = pipe::stringifyOptimizer(op.getOptimizer());
    if (optimizer.empty() || optimizer == kind)
      return WalkResult::advance();
    return op.emitError("optimizer is ") << kind << " but --optimizer says " << optimizer;
  });
  return failure(result.wasInterrupted());
}

/// What ops and transfers take at these rates. even: experts' rows not as they come, but as the
/// compiler takes them for its orders, spread evenly.
static Costs costsOf(ModuleOp module, const overlap::Rates &rates, bool even) {
  Costs costs;
  if (even) {
    costs.compute = [=, times = overlap::evenTimes(module, rates)](Operation *op, double) {
      auto it = times.find(op);
      return it == times.end() ? overlap::secondsOf(op, rates) : it->second;
    };
    costs.transfer = [=](Operation *op, int64_t) { return overlap::transferSeconds(op, rates); };
  } else {
    costs.compute = [=](Operation *op, double part) { return overlap::secondsOf(op, rates, part); };
    costs.transfer = [=](Operation *op, int64_t rows) {
      return overlap::transferSeconds(op, rates, rows);
    };
  }
  costs.message = [=](int64_t bytes) {
    return std::pair(double(bytes) / rates.bandwidth, rates.latency);
  };
  costs.overhead = rates.overhead;
  return costs;
}

static int train(ModuleOp module, const ParameterStore &parameters,
                 const EvaluatorOptions &evaluation, const DataFolder *data) {
  if (!data)
    return fail("a training step takes inputs and labels; give --data");
  if (accumulate < 1 || steps < 0)
    return fail("--accumulate must be 1 or more and --steps 0 or more");
  if (decay != "all" && decay != "matrices")
    return fail("--decay takes all or matrices, not '" + decay + "'");
  if (failed(checkOptimizer(module)))
    return kWrong;
  TrainingOptions options;
  options.hyper.rate = lr;
  options.hyper.beta1 = beta1;
  options.hyper.beta2 = beta2;
  options.hyper.epsilon = eps;
  if (weightDecay.getNumOccurrences())
    options.hyper.decay = weightDecay;
  options.hyper.decayMatricesOnly = decay == "matrices";
  options.hyper.momentum = momentum;
  options.hyper.clip = clip;
  options.accumulate = accumulate;
  options.f64 = f64;
  overlap::Rates rates;
  if (std::string error = rates.parse(overlapRates); !error.empty())
    return fail(error);
  if (virtualTime)
    options.costs = costsOf(module, rates, evenRows);
  else if (overlapRates.getNumOccurrences() || !timelineFlag.empty() || evenRows)
    return fail(llvm::Twine(!timelineFlag.empty() ? "--timeline"
                            : evenRows            ? "--even-rows"
                                                  : "--overlap-rates") +
                " is of virtual time; give --virtual-time, too");
  options.timeline = !timelineFlag.empty();

  std::optional<pipe::PipelineProgram> program;
  if (pipe::PipelineProgram::isIn(module)) {
    auto read = pipe::PipelineProgram::read(module);
    if (failed(read))
      return kWrong;
    program = std::move(*read);
  }
  // Ranks are threads.
  module.getContext()->enableMultithreading();
  Training training(module, parameters, evaluation, options, std::move(program));
  if (failed(training.prepare(*data)))
    return kWrong;
  std::unique_ptr<llvm::raw_fd_ostream> log;
  if (!logFlag.empty()) {
    std::error_code code;
    log = std::make_unique<llvm::raw_fd_ostream>(logFlag, code);
    if (code)
      return fail("cannot write '" + logFlag + "': " + code.message());
  }
  for (int64_t i = 0; i < steps; ++i) {
    FailureOr<StepReport> report = training.runStep();
    if (failed(report))
      return kFailed;
    printStep(llvm::outs(), *report);
    if (log)
      logStep(*log, *report, lr);
    if (options.timeline && i + 1 == steps) {
      std::error_code code;
      llvm::raw_fd_ostream file(timelineFlag, code);
      if (code)
        return fail("cannot write '" + timelineFlag + "': " + code.message());
      writeTimeline(file, *report);
    }
    std::string error;
    if (i == 0 && !dumpGrads.empty() &&
        !writeSafetensors(dumpGrads, training.namedGradients(), error))
      return fail(error);
  }
  return kDone;
}

/// The function that the flags or the phase name; an error where none does.
static func::FuncOp chooseFunction(ModuleOp module) {
  if (!function.empty())
    return module.lookupSymbol<func::FuncOp>(function);
  for (StringRef name : {"micro_step", "forward"})
    if (auto func = module.lookupSymbol<func::FuncOp>(name))
      return func;
  auto all = module.getOps<func::FuncOp>();
  return llvm::hasSingleElement(all) ? *all.begin() : func::FuncOp();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Moiré: executes the IR of any phase on the CPU, slowly and plainly\n\n"
      "  @main of the phase import is first converted to nn, in memory, by the\n"
      "  compiler's own conversion; then, as\n"
      "  @forward (phase model), it runs once and prints its outputs;\n"
      "  @micro_step (phases train to overlap) is trained on a folder of tensors, on as\n"
      "  many ranks as the module's mesh has; so are the stages of a pipeline, by their\n"
      "  schedule.\n");

  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false); // an error is one sentence
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler diagnostics(sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(input, sources, &context);
  if (!module)
    return kWrong;

  std::string error;
  std::optional<DataFolder> data;
  if (!dataFlag.empty()) {
    data = readDataFolder(dataFlag, &context, error);
    if (!data)
      return fail(error);
  }
  if (findImportedGraph(*module) &&
      failed(convertImportedGraph(*module, data ? &*data : nullptr, {bind.begin(), bind.end()},
                                  crashReproducer)))
    return kWrong;
  const bool inStages = function.empty() && pipe::PipelineProgram::isIn(*module);
  func::FuncOp func = inStages ? func::FuncOp() : chooseFunction(*module);
  if (!func && !inStages)
    return fail(function.empty() ? "there is neither @micro_step nor @forward nor a single "
                                   "function; name one with --function"
                                 : "there is no function @" + function);
  ParameterStore parameters(f64);
  if (failed(initFlag ? parameters.init(*module, seed)
                      : parameters.load(*module, modelFolder(*module))))
    return kWrong;
  EvaluatorOptions options;
  options.f64 = f64;
  if (trace)
    options.trace = printTrace;
  if (inStages || (func.getSymName() == "micro_step" && module->lookupSymbol("optimizer_step")))
    return train(*module, parameters, options, data ? &*data : nullptr);
  Evaluator evaluator(options, &parameters);
  return runFunction(func, evaluator, data ? &*data : nullptr);
}
