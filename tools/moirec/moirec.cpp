//===- moirec.cpp - The compiler: an ONNX model becomes a trainer --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "BatchAuto.h"
#include "BindLengths.h"
#include "PlanAuto.h"
#include "PlanFlag.h"
#include "mlir/IR/AsmState.h"
#include "moire/Frontend/ImportOnnx.h"
#include "moire/Frontend/Parameters.h"
#include "moire/Frontend/Placement.h"
#include "moire/Pipelines/Pipelines.h"
#include "moire/Scheduling/Ramp.h"
#include "moire/Support/Diagnostics.h"
#include "moire/Support/Dialects.h"
#include "moire/Target/Program.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Regex.h"
#include <CLI/CLI.hpp>
#include <sstream>

using namespace moire;

namespace {
/// The command line. CLI11 and not llvm::cl, whose one global table already
/// holds LLVM's own --stop-after.
struct CommandLine {
  CompileOptions compile;
  std::string target = "cpu", arch = "sm_90a", output, stopAfter, plan, memoryLimit;
  AutoPlan automatic;
  bool explainParams = false, sourceOnly = false;
};
} // namespace

/// One sentence to stderr and the exit code for wrong usage.
static int usageError(const llvm::Twine &sentence) {
  llvm::errs() << "error: " << sentence << "\n";
  return 1;
}

static int explain(const CompileOptions &options, mlir::MLIRContext &context) {
  frontend::ImportOptions import;
  import.allowMissingWeights = true;
  auto module = frontend::importOnnx(options.model, &context, import);
  if (!module)
    return 1;
  frontend::ParameterTable table = frontend::buildParameterTable(*module);
  std::string error;
  if (!options.freeze.empty()) {
    int64_t frozen = table.freeze(options.freeze, error);
    if (frozen < 0)
      return usageError("--freeze '" + options.freeze + "' is not a regular expression: " + error);
    if (frozen == 0)
      return usageError("--freeze '" + options.freeze +
                        "' matches no parameter that is trained; --explain-params without it "
                        "lists them");
  }
  if (!options.groups.empty())
    if (error = table.group(llvm::join(options.groups, ",")); !error.empty())
      return usageError(error);
  table.print(llvm::outs());
  for (const std::string &warning : table.warnings)
    llvm::errs() << "warning: " << warning << "\n";
  return 0;
}

static int printModule(mlir::ModuleOp module, const std::string &output) {
  if (output.empty() || output == "-") {
    module.print(llvm::outs(), mlir::OpPrintingFlags().enableDebugInfo(true, false));
    return 0;
  }
  std::error_code ec;
  llvm::raw_fd_ostream os(output, ec);
  if (ec)
    return usageError("cannot write '" + output + "': " + ec.message());
  module.print(os, mlir::OpPrintingFlags().enableDebugInfo(true, false));
  return 0;
}

static void declareOptions(CLI::App &app, CommandLine &line) {
  CompileOptions &compile = line.compile;
  app.get_formatter()->column_width(34);
  app.add_option("model", compile.model, "The ONNX file")->required()->type_name("MODEL.onnx");
  app.add_option("--bind", compile.bind,
                 "Sizes of the model's symbolic dimensions, the shape of one micro-batch: "
                 "--bind batch=2,seq=10. NAME=auto: the largest that --memory-limit lets it be. "
                 "seq=128|512, or batch=32|8,seq=128|512: one trainer for sequences of several "
                 "lengths, whose --curriculum says which step has which")
      ->type_name("NAME=SIZE,...")
      ->delimiter(',');
  app.add_option("--memory-limit", line.memoryLimit,
                 "Of --bind NAME=auto: what a rank may hold of parameters, gradients, optimizer's state "
                 "and activations")
      ->type_name("SIZE");
  app.add_option("--loss", compile.loss,
                 "auto, next-token, token, class, mse or output:NAME. auto takes a loss that the "
                 "graph holds or an output that depends on labels, else cross-entropy over the "
                 "logits: next token for rank 3, class for rank 2")
      ->type_name("KIND")
      ->capture_default_str();
  app.add_option("--aux", compile.aux, "Scalar outputs that are added to the loss")
      ->type_name("NAME=WEIGHT,...")
      ->delimiter(',');
  app.add_option("--aux-loss", compile.auxLoss,
                 "Weight of the load balance loss of each router, E * sum of (part of the pairs x "
                 "mean score) over its E experts, taken over all ranks' tokens of a micro-batch")
      ->type_name("WEIGHT")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--z-loss", compile.zLoss,
                 "Weight of the mean over tokens of logsumexp(logits)^2 of each router")
      ->type_name("WEIGHT")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--router-bias-rate", compile.routerBiasRate,
                 "Move the biases that routers add for the choice alone, once a step: down by RATE "
                 "for experts of more than the mean load, up for those of less")
      ->type_name("RATE")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--capacity-factor", compile.capacityFactor,
                 "Each expert takes ceil(FACTOR x pairs / experts) of the (token, choice) pairs of a "
                 "micro-batch, over all ranks; pairs that find no room have the weight zero")
      ->type_name("FACTOR")
      ->check(CLI::PositiveNumber);
  app.add_option("--drop-order", compile.dropOrder,
                 "Which pairs find room: gshard, second choices after all first choices; switch, "
                 "tokens in order")
      ->type_name("ORDER")
      ->capture_default_str();
  app.add_option("--expert-slots", compile.expertSlots,
                 "With ep in --mesh: a rank has room for FACTOR times the rows that it sends to "
                 "experts, not for all that can come. A micro-batch that finds no room is run in "
                 "parts; no pair is dropped")
      ->type_name("FACTOR")
      ->check(CLI::PositiveNumber);
  app.add_option("--optimizer", compile.optimizer, "adamw or sgd")
      ->type_name("KIND")
      ->capture_default_str();
  app.add_option("--precision", compile.precision,
                 "f32 or bf16: what products and attention compute in and store. Weights, their "
                 "gradients and the optimizer are float32 always")
      ->type_name("POLICY")
      ->capture_default_str();
  app.add_option("--precision-override", compile.precisionOverrides,
                 "Another policy for nodes whose name, or a parameter that they read, matches")
      ->type_name("REGEX=POLICY");
  app.add_option("--freeze", compile.freeze, "Do not train parameters whose names match")
      ->type_name("REGEX");
  app.add_option("--groups", compile.groups,
                 "Parameters that a trainer's --update-schedule can let rest for some steps, which "
                 "then compute no gradient of theirs: those whose names match, in the first group that "
                 "does. What is in no group is trained in every step")
      ->type_name("NAME=REGEX,...")
      ->allow_extra_args(false);
  app.add_option("--mesh", compile.mesh,
                 "Ranks as a grid: pp ranks hold different layers, dp and ep ranks different tokens, "
                 "ep ranks different experts, tp ranks pieces of each layer: --mesh dp=2,ep=4. Or "
                 "configuration=NAME, a device configuration of the file that --write-placement wrote; "
                 "tensors must then be divided as its sharding_specs say")
      ->type_name("AXIS=SIZE,...");
  app.add_option("--schedule", compile.schedule,
                 "With pp in --mesh, in which order its ranks work: gpipe, 1f1b, interleaved:V, "
                 "zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev, or auto: the fastest one that is "
                 "found")
      ->type_name("KIND")
      ->capture_default_str();
  app.add_option("--microbatches", compile.microBatches,
                 "With pp: micro-batches of a rank in a step (four for each rank of pp)")
      ->type_name("M")
      ->check(CLI::PositiveNumber);
  app.add_option("--batch-ramp", compile.batchRamp,
                 "Micro-batches of a rank in a step: M of them once STEP steps are done, as in "
                 "4@0,8@1000. With pp each M gets a schedule of its own")
      ->type_name("M@STEP,...");
  app.add_option("--stages", compile.stages,
                 "With pp: where the model is cut. Layers of each stage: 8,8,7,9. Or each cut by a "
                 "node, a value, a module or a regular expression over their names, behind the last "
                 "one that matches: after=NAME,after=NAME. Or configuration=NAME, the "
                 "pipeline_stage annotations of the file (they hold if it has them), or auto: stages "
                 "that take about as long")
      ->type_name("CUTS");
  app.add_option("--zero", compile.zero,
                 "What ranks of dp and ep divide of what they hold alike: 1 the optimizer's state, "
                 "2 gradients too, 3 parameters too; 0 nothing")
      ->type_name("LEVEL")
      ->check(CLI::Range(0, 3))
      ->capture_default_str();
  app.add_option(
         "--plan", line.plan,
         "Mesh, schedule, zero and precision of a plan that moire-plan --search wrote, instead of "
         "their flags; its micro-batch must be the batch of --bind. auto: the fastest "
         "plan that the cost model finds for --cluster and --global-batch; --mesh and --zero then "
         "hold what they name")
      ->type_name("FILE.toml|auto");
  app.add_option("--cluster", line.automatic.cluster,
                 "Of --plan auto: a file, or a name that moire-plan --help lists")
      ->type_name("NAME|FILE.toml");
  app.add_option("--gpus", line.automatic.gpus,
                 "Of --plan auto: devices to use (all of the cluster)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--global-batch", line.automatic.globalBatch,
                 "Of --plan auto: sequences of a step (the batch of --bind on each device)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_flag("!--no-overlap", compile.overlap,
               "Ranks wait for each collective instead of computing beside it; the same numbers");
  app.add_option("--overlap-rates", compile.overlapRates,
                 "What a rank reaches, for the order of what runs beside collectives: "
                 "flops=GFLOP/S,memory=GB/S,overhead=US,bandwidth=GB/S,latency=US; what is left "
                 "out is a processor's, without the flag a GPU's for --target cuda")
      ->type_name("NAME=VALUE,...");
  app.add_option("--logits-limit", compile.logitsLimit,
                 "MiB of logits that are stored at once; larger ones are made and used in chunks")
      ->type_name("MIB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--init", compile.init, "Start from fresh weights; the weight file may be missing");
  app.add_option("--target", line.target,
                 "cpu, cuda, or cuda-model: the CUDA program with its kernels executed on the CPU, "
                 "slowly, to debug it without a GPU")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--arch", line.arch, "The GPU, as nvcc names it, for --target cuda")
      ->type_name("sm_NN")
      ->capture_default_str();
  app.add_option("-o", line.output,
                 "Output folder: trainer, sources, plan. With --stop-after: the file for the IR")
      ->type_name("DIR");
  app.add_option(
         "--stop-after", line.stopAfter,
         "Write the IR after import, model, train, distribute, stages, kernels, overlap or program, and "
         "stop")
      ->type_name("PHASE");
  app.add_option("--dump-phases", compile.dumpPhases, "Write the IR after each phase into DIR")
      ->type_name("DIR");
  app.add_option("--crash-reproducer", compile.crashReproducer,
                 "Where a pass fails: the file for what it was given, which moire-opt FILE "
                 "--run-reproducer runs again. Without the flag it is moire-crash-XXXXXX.mlir in the "
                 "current folder, and only where the fault is moirec's own")
      ->type_name("FILE.mlir");
  app.add_option("--write-placement", compile.placement,
                 "With --mesh: write the model with the pipeline stage of each node and what ranks "
                 "hold of each divided tensor, as IR 11 says it; the weights stay where they are. Stop "
                 "there unless -o or --stop-after is given")
      ->type_name("FILE.onnx");
  app.add_flag("--explain", compile.explain,
               "Print what ranks send to each other, why, and what they compute beside it; stop there "
               "unless -o or --stop-after is given");
  app.add_flag("--explain-overlap", compile.explainOverlap,
               "Print when what runs of the two tasks of each pair that the pipeline's schedule overlaps; "
               "stop there unless -o or --stop-after is given");
  app.add_flag("--explain-params", line.explainParams,
               "Print the table of parameters; stop there unless -o or --stop-after is given");
  app.add_flag("--source-only", line.sourceOnly, "Write the output folder without compiling it");
}

/// Fills the phase to stop after; an error sentence if it is not one.
static std::string readPhase(const std::string &name, Phase &phase) {
  for (Phase p : {Phase::import, Phase::model, Phase::train, Phase::distribute, Phase::stages,
                  Phase::kernels, Phase::overlap, Phase::program})
    if (phaseName(p) == name) {
      phase = p;
      return {};
    }
  return "--stop-after '" + name +
         "' is not a phase; use import, model, train, distribute, stages, "
         "kernels, overlap or program";
}

/// --plan and what belongs to it: fills the plan and the options that it gives. Returns the exit
/// code where it is wrong, else 0.
static int readPlanFlags(const CLI::App &app, CommandLine &line, planner::Plan &plan) {
  const bool isAuto = line.plan == "auto";
  for (const char *flag : {"--cluster", "--gpus", "--global-batch"})
    if (app.count(flag) && !isAuto)
      return usageError(std::string(flag) + " is for --plan auto; add that, or leave it out");
  if (line.plan.empty())
    return 0;
  if (isAuto) {
    if (line.automatic.cluster.empty())
      return usageError("--plan auto needs to know for what; give --cluster with a file or a name "
                        "that moire-plan --help lists");
    if (app.count("--zero"))
      line.automatic.zero = static_cast<int>(line.compile.zero);
    std::string report;
    if (auto error = searchPlan(line.automatic, line.compile, plan, report))
      return error->empty() ? 1 : usageError(*error);
    llvm::outs() << report << "\n";
  } else {
    for (const char *other : {"--mesh", "--zero", "--precision", "--schedule", "--microbatches"})
      if (app.count(other))
        return usageError(std::string("--plan and ") + other +
                          " both say it; leave one of them out");
    if (planner::Refusal refusal = planner::readPlan(line.plan, plan))
      return usageError(*refusal);
  }
  std::string warnings;
  if (std::string error = applyPlan(plan, line.plan, line.compile, warnings); !error.empty())
    return usageError(error);
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(warnings).split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef warning : lines)
    llvm::errs() << "warning: " << warning << "\n";
  return 0;
}

/// What of an H100 (NVIDIA's data sheet: 989 TFLOP/s of bf16, 3350 GB/s, NVLink 450 GB/s each
/// way) a program may reach: half of the products, three quarters of the rest.
static const char *const kGpuRates =
    "flops=500000,memory=2500,overhead=4,bandwidth=340,latency=10";

int main(int argc, char **argv) {
  llvm::InitLLVM initLLVM(argc, argv);
  CLI::App app("Moiré: compiles an ONNX model into a training program\n\n"
               "  moirec model.onnx --bind batch=2,seq=10 --optimizer adamw -o out/\n"
               "  out/trainer --data tokens.bin --steps 1000 --lr 3e-4\n\n"
               "Exit codes: 0 done, 1 wrong input or usage, 2 a compiler failed, this one or C++'s.",
               "moirec");
  CommandLine line;
  declareOptions(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &help) {
    return app.exit(help);
  } catch (const CLI::ParseError &error) {
    return usageError(std::string(error.what()) + "; moirec --help lists the options");
  }

  CompileOptions &options = line.compile;
  target::EmitOptions emit;
  emit.arch = line.arch;
  if (line.target == "cuda")
    emit.target = target::TargetKind::cuda;
  else if (line.target == "cuda-model")
    emit.target = target::TargetKind::cudaModel;
  else if (line.target != "cpu")
    return usageError("--target '" + line.target + "' is not known; use cpu, cuda or cuda-model");
  if (!llvm::Regex("^sm_[0-9]+[af]?$").match(line.arch))
    return usageError("--arch '" + line.arch +
                      "' is not an architecture; write it as nvcc does, "
                      "for example sm_90a");
  if (app.count("--batch-ramp")) {
    for (const char *other : {"--microbatches", "--plan"})
      if (app.count(other))
        return usageError(std::string("--batch-ramp and ") + other +
                          " both say how many micro-batches a step has; leave one of them out");
    scheduling::Ramp ramp;
    if (scheduling::Refusal refusal = scheduling::parseRamp(options.batchRamp, ramp))
      return usageError("--batch-ramp " + *refusal);
  }
  if (!line.stopAfter.empty() && llvm::any_of(options.bind, [](llvm::StringRef entry) {
        return entry.contains('|');
      }))
    return usageError("--stop-after writes the IR of one program, and --bind lists sizes of "
                      "several; bind each dimension to one size, or see --dump-phases");
  std::vector<BoundLength> lengths; // beside the longest
  if (auto error = readLengths(options, lengths))
    return error->empty() ? 1 : usageError(*error);
  planner::Plan plan;
  if (int code = readPlanFlags(app, line, plan))
    return code;
  if (llvm::StringRef name = options.mesh; name.consume_front("configuration=")) {
    options.configuration = name.str();
    options.mesh.clear();
    if (std::string error =
            frontend::readMesh(options.model, options.configuration, options.mesh);
        !error.empty())
      return usageError(error);
    if (options.stages.empty() && options.mesh.find("pp=") != std::string::npos)
      options.stages = "configuration=" + options.configuration;
  }
  if (options.zero > 0 && options.mesh.empty() && line.plan.empty())
    return usageError("--zero " + llvm::Twine(options.zero) +
                      " divides what ranks hold alike, and there is one rank; give --mesh dp=2 or "
                      "more, or leave --zero out");
  const bool pipelined = llvm::Regex("(^|,)pp=([2-9]|1[0-9])").match(options.mesh);
  for (const char *flag : {"--schedule", "--microbatches", "--stages"})
    if (app.count(flag) && !pipelined)
      return usageError(std::string(flag) + " is for pipelines; give --mesh pp=2 or more, or leave " +
                        flag + " out");
  if (scheduling::Kind kind; pipelined)
    if (scheduling::Refusal refusal = scheduling::parseKind(options.schedule, kind))
      return usageError("--schedule: " + *refusal);
  if (pipelined && options.expertSlots != 0)
    return usageError("--expert-slots with pp in --mesh is not possible: a micro-batch of a "
                      "pipeline cannot run in parts; leave one of them out");
  options.richProducts = emit.target != target::TargetKind::cpu;
  // The rates of the flag's own default are a processor's.
  if (options.richProducts && options.overlapRates.empty())
    options.overlapRates = kGpuRates;
  bool stops = !line.stopAfter.empty();
  if (stops)
    if (std::string error = readPhase(line.stopAfter, options.stopAfter); !error.empty())
      return usageError(error);
  if (options.explain && stops && options.stopAfter < Phase::distribute)
    return usageError("--explain speaks of phase distribute, before which --stop-after=" +
                      line.stopAfter + " stops");
  if (options.explainOverlap && options.mesh.find("pp") == std::string::npos)
    return usageError("--explain-overlap speaks of tasks that a pipeline's schedule overlaps, and "
                      "--mesh has no pp; give --mesh pp=2 or more");
  if (llvm::is_contained(options.groups, ""))
    return usageError("--groups '' must be NAME=REGEX");
  const bool explains = options.explain || options.explainOverlap;
  const bool places = !options.placement.empty();
  if (places && options.mesh.empty())
    return usageError("--write-placement says what ranks hold, and there is one; give --mesh pp=2 or "
                      "more, or leave --write-placement out");
  if (places && stops && options.stopAfter < Phase::stages)
    return usageError("--write-placement speaks of phase stages, before which --stop-after=" +
                      line.stopAfter + " stops");
  if ((explains || places) && !stops && line.output.empty())
    options.stopAfter = explains ? Phase::overlap : Phase::stages;
  if (!stops && !line.explainParams && !explains && !places && line.output.empty() &&
      options.dumpPhases.empty())
    return usageError("nothing to write; give an output folder with -o DIR, or --stop-after, "
                      "--dump-phases, --explain, --explain-params or --write-placement");

  mlir::DialectRegistry registry;
  registerDialects(registry);
  // Threads would only reorder the diagnostics: one function holds the model.
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  UserDiagnostics diagnostics(&context);

  std::string batch;
  if (auto error = chooseBatch(options, emit, line.memoryLimit, context, batch))
    return error->empty() ? 1 : usageError(*error);
  if (!batch.empty())
    llvm::outs() << batch << "\n";
  if (line.explainParams) {
    int code = explain(options, context);
    if (code || (line.output.empty() && !stops))
      return code;
  }
  std::string planText;
  auto module = runPhases(options, context, line.output.empty() ? nullptr : &planText);
  if (!module)
    return 1;
  if (!line.plan.empty())
    if (std::string error = checkBatch(*module, plan); !error.empty())
      return usageError(error);
  if (stops)
    return printModule(*module, line.output);
  if (line.output.empty())
    return 0;

  emit.output = line.output;
  emit.init = options.init;
  if (!line.plan.empty()) {
    std::ostringstream text;
    planner::writePlan(text, plan);
    emit.plan = text.str();
  }
  emit.compile = !line.sourceOnly;
  std::vector<target::EmitSource> sources = {{*module, planText}};
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> others;
  if (!compileOthers(options, lengths, *module, context, others, sources))
    return 1;
  const int code = target::emitProgram(sources, emit);
  if (code == 0 && !line.plan.empty())
    llvm::outs() << howToRun(plan, line.output) << "\n";
  return code;
}
