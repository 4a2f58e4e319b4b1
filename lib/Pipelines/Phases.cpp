//===- Phases.cpp - Runs the phases of a compilation in order ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Placement.h"
#include "mlir/Support/FileUtilities.h"
#include "moire/Conversion/Passes.h"
#include "moire/Distribute/Explain.h"
#include "moire/Distribute/Passes.h"
#include "moire/Frontend/ImportOnnx.h"
#include "moire/Overlap/Passes.h"
#include "moire/Overlap/Predict.h"
#include "moire/Overlap/Timetable.h"
#include "moire/Pipe/Passes.h"
#include "moire/Pipelines/Pipelines.h"
#include "moire/Program/Passes.h"
#include "moire/Raise/Passes.h"
#include "moire/Stages/Passes.h"
#include "moire/Support/RunPasses.h"
#include "moire/Support/StageCuts.h"
#include "moire/Train/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace moire;

StringRef moire::phaseName(Phase phase) {
  switch (phase) {
  case Phase::import:
    return "import";
  case Phase::model:
    return "model";
  case Phase::train:
    return "train";
  case Phase::distribute:
    return "distribute";
  case Phase::stages:
    return "stages";
  case Phase::kernels:
    return "kernels";
  case Phase::overlap:
    return "overlap";
  case Phase::program:
    return "program";
  }
  llvm_unreachable("all phases are named above");
}

/// Writes `DIR/2-model.mlir` and marks the module with the phase it is in.
static LogicalResult finishPhase(ModuleOp module, Phase phase, const CompileOptions &options) {
  module->setAttr("moire.phase", StringAttr::get(module.getContext(), phaseName(phase)));
  if (options.dumpPhases.empty())
    return success();
  SmallString<128> path(options.dumpPhases);
  if (std::error_code ec = llvm::sys::fs::create_directories(path))
    return emitError(UnknownLoc::get(module.getContext()))
           << "cannot make the folder '" << options.dumpPhases
           << "' of --dump-phases: " << ec.message();
  llvm::sys::path::append(path,
                          llvm::formatv("{0}-{1}.mlir", (int)phase + 1, phaseName(phase)).str());
  std::string error;
  auto file = openOutputFile(path, &error);
  if (!file)
    return emitError(UnknownLoc::get(module.getContext())) << error;
  // With locations: they carry the ONNX node names that later phases print.
  module.print(file->os(), OpPrintingFlags().enableDebugInfo(true, false));
  file->keep();
  return success();
}

/// What ranks send, and after phase overlap what hides it.
static void explain(ModuleOp module, bool overlapped, const CompileOptions &options) {
  if (pipe::PipelineProgram::isIn(module)) {
    distribute::explainCollectives(module, llvm::outs());
    if (auto program = pipe::PipelineProgram::read(module); succeeded(program))
      stages::explainStages(*program, options.overlapRates, llvm::outs());
    return;
  }
  if (!overlapped || !dist::meshOf(module))
    return distribute::explainCollectives(module, llvm::outs());
  overlap::Rates rates;
  (void)rates.parse(options.overlapRates); // the phase has refused what is wrong
  const overlap::Prediction prediction = overlap::predict(module, rates);
  auto beside = [&](Operation *op) { return overlap::describe(prediction, op); };
  if (options.overlap)
    distribute::explainCollectives(module, llvm::outs(), beside);
  else
    distribute::explainCollectives(module, llvm::outs());
  llvm::outs() << overlap::summary(prediction) << "\n";
}

/// Whether a mesh has pp=2 or more.
static bool hasStages(StringRef mesh) {
  SmallVector<StringRef> axes;
  mesh.split(axes, ',');
  return llvm::any_of(axes, [](StringRef axis) {
    int64_t size;
    return axis.consume_front("pp=") && !axis.getAsInteger(10, size) && size > 1;
  });
}

OwningOpRef<ModuleOp> moire::runPhases(const CompileOptions &options, MLIRContext &context,
                                       std::string *plan) {
  frontend::ImportOptions import;
  import.allowMissingWeights = options.init;
  if (hasStages(options.mesh))
    import.stages = options.stages;
  OwningOpRef<ModuleOp> module = frontend::importOnnx(options.model, &context, import);
  if (!module || failed(finishPhase(*module, Phase::import, options)))
    return {};

  std::optional<frontend::Placement> placement;
  for (Phase phase :
       {Phase::model, Phase::train, Phase::distribute, Phase::stages, Phase::kernels,
        Phase::overlap, Phase::program}) {
    if (options.stopAfter < phase)
      break;
    PassManager passes(&context);
    switch (phase) {
    case Phase::import:
      break;
    case Phase::model: {
      conversion::ConversionOptions conversion;
      conversion.bind = options.bind;
      conversion::buildConversionPipeline(passes, conversion);
      raise::buildRaisePipeline(passes);
      break;
    }
    case Phase::train: {
      train::TrainOptions train;
      train.loss = options.loss;
      train.aux = options.aux;
      train.auxLoss = options.auxLoss;
      train.zLoss = options.zLoss;
      train.capacityFactor = options.capacityFactor;
      train.dropOrder = options.dropOrder;
      train.routerBiasRate = options.routerBiasRate;
      train.freeze = options.freeze;
      train.groups = llvm::join(options.groups, ",");
      train.optimizer = options.optimizer;
      train.precision = options.precision;
      train.precisionOverrides = options.precisionOverrides;
      train::buildTrainPipeline(passes, train);
      break;
    }
    case Phase::distribute:
      distribute::buildDistributePipeline(passes,
                                          {options.mesh, options.expertSlots, options.zero});
      // Before stages, which then keep tokens rather than rows for the backward.
      if (options.richProducts)
        passes.addNestedPass<func::FuncOp>(program::createGatherRows());
      break;
    case Phase::stages:
      if (options.stageEnds)
        (*module)->setAttr(kStageEndsAttr, options.stageEnds);
      if (!options.batchRamp.empty())
        passes.addPass(pipe::createBatchRamp({options.batchRamp}));
      if (dist::MeshAttr mesh = dist::meshOf(*module); mesh && mesh.getSize("pp") > 1)
        stages::buildStagesPipeline(passes, {options.schedule, mesh.getSize("pp"),
                                             !options.batchRamp.empty() ? 0
                                             : options.microBatches     ? options.microBatches
                                                                        : 4 * mesh.getSize("pp"),
                                             options.overlapRates, /*join=*/options.overlap});
      if (options.zero > 1)
        passes.addPass(distribute::createBucketPieces());
      break;
    case Phase::kernels:
      program::buildKernelsPipeline(passes);
      break;
    case Phase::overlap:
      if (options.overlap)
        overlap::buildOverlapPipeline(passes, options.overlapRates);
      break;
    case Phase::program:
      program::buildProgramPipeline(passes, options.logitsLimit << 20, options.richProducts);
      break;
    }
    if (failed(runPasses(passes, *module, options.crashReproducer)) ||
        failed(finishPhase(*module, phase, options)))
      return {};
    if (phase == Phase::overlap && plan && pipe::PipelineProgram::isIn(*module))
      if (auto program = pipe::PipelineProgram::read(*module); succeeded(program))
        *plan = stages::planText(*program, options.overlapRates);
    if (options.explainOverlap && phase == Phase::overlap) {
      overlap::Rates rates;
      (void)rates.parse(options.overlapRates); // the phase has refused what is wrong
      const bool pairs = llvm::any_of(module->getOps<func::FuncOp>(), [](func::FuncOp func) {
        return func->hasAttr(pipe::kPairAttr);
      });
      if (!pairs)
        llvm::outs() << "no tasks overlap: schedule " << options.schedule
                     << " runs them one after the other; dualpipe and dualpipev overlap forwards "
                        "with backwards\n";
      overlap::printTimetables(*module, rates, 0.01, llvm::outs());
    }
    if (phase == Phase::stages && !(options.placement.empty() && options.configuration.empty())) {
      auto found = placementOf(*module);
      if (failed(found))
        return {};
      if (!options.placement.empty())
        placement = *found;
      if (!options.configuration.empty())
        if (std::string error =
                frontend::comparePlacement(options.model, options.configuration, *found);
            !error.empty()) {
          emitError(UnknownLoc::get(&context)) << error;
          return {};
        }
    }
    if (options.explain && phase == std::min(options.stopAfter, Phase::overlap) &&
        phase >= Phase::distribute)
      explain(*module, phase == Phase::overlap, options);
  }
  if (placement)
    if (std::string error = frontend::writePlacement(options.model, options.placement, *placement);
        !error.empty()) {
      emitError(UnknownLoc::get(&context)) << error;
      return {};
    }
  return module;
}
