//===- Program.cpp - Writes and compiles the output folder ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Target/Program.h"
#include "Folder.h"
#include "HostCompiler.h"
#include "Lengths.h"
#include "Sources.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

/// Exit codes of moirec.
enum { kDone = 0, kWrongInput = 1, kFailed = 2 };

/// One error of the folder or of the files in it.
static int fail(ModuleOp module, llvm::Error error) {
  emitError(UnknownLoc::get(module.getContext())) << llvm::toString(std::move(error));
  return kWrongInput;
}

/// program.mlir and plan.mlir of each length, those of the longest at the top.
static void addPlans(ArrayRef<ProgramInfo> lengths, ArrayRef<EmitSource> given,
                     std::vector<SourceFile> &files) {
  for (const ProgramInfo &info : lengths) {
    const std::string folder = &info == &lengths.back() ? "" : info.folder();
    std::string text;
    llvm::raw_string_ostream os(text);
    info.module.print(os, OpPrintingFlags().enableDebugInfo(true, false));
    files.push_back({folder + "program.mlir", os.str()});
    for (const EmitSource &source : given)
      if (source.module == info.module && !source.plan.empty())
        files.push_back({folder + "plan.mlir", source.plan});
  }
}

int target::emitProgram(ArrayRef<EmitSource> given, const EmitOptions &options) {
  ModuleOp module = given.front().module;
  auto report = [&] { return emitError(UnknownLoc::get(module.getContext())); };
  // 1. All text, before anything is written.
  auto lengths = collectLengths(given, options);
  if (failed(lengths))
    return kWrongInput;
  const ProgramInfo *info = &lengths->back();
  auto sources = emitSources(*lengths);
  if (failed(sources))
    return kWrongInput;
  RuntimePaths runtime = findRuntime(options.target);
  if (options.target == TargetKind::cuda && options.compile && options.arch != MOIRE_CUDA_ARCH) {
    report() << "the runtime's library was built for " << MOIRE_CUDA_ARCH << ", not for "
             << options.arch
             << "; write the folder with --source-only and build it by make, or leave --arch out";
    return kWrongInput;
  }
  bool lacksNvcc = options.target == TargetKind::cuda && options.compile && findNvcc().empty();
  bool compile = options.compile && !lacksNvcc;
  if (runtime.sources.empty() || (compile && runtime.library.empty())) {
    report()
        << "the runtime's " << (runtime.sources.empty() ? "sources are" : "library is")
        << " not where Moiré was built nor beside its executable; build target "
        << (options.target == TargetKind::cpu ? "moire_rt" : "cuda")
        << (options.target == TargetKind::cuda
                ? ", where nvcc is installed, or leave compiling to the folder by --source-only"
                : "");
    return kFailed;
  }

  // 2. The folder.
  auto created = OutputFolder::create(options.output);
  if (!created)
    return fail(module, created.takeError());
  OutputFolder &folder = **created;
  std::vector<SourceFile> files = *sources;
  addPlans(*lengths, given, files);
  files.push_back({"params.json", parametersJson(*info)});
  files.push_back({"CMakeLists.txt", cmakeText(*info, *sources)});
  files.push_back({"Makefile", makefileText(*info, *sources)});
  if (!options.plan.empty())
    files.push_back({"plan.toml", options.plan});
  files.push_back({kMarkerFile, markerJson(*lengths)});
  for (const SourceFile &file : files)
    if (auto error = folder.write(file.path, file.text))
      return fail(module, std::move(error));
  bool cpu = options.target == TargetKind::cpu;
  auto trees = cpu ? std::vector<std::string>{"/include", "/lib"}
                   : std::vector<std::string>{"/include", "/lib/comm", "/lib/train", "/cuda"};
  auto single =
      cpu ? std::vector<std::string>{"/CMakeLists.txt"}
          : std::vector<std::string>{"/CMakeLists.txt", "/cuda/CMakeLists.txt", "/lib/context.cpp",
                                     "/lib/memory.cpp", "/lib/kernels/walk.h"};
  for (const std::string &part : trees)
    if (auto error = folder.copyTree(runtime.sources + part, "runtime" + part))
      return fail(module, std::move(error));
  for (const std::string &file : single)
    if (auto error = folder.copyFile(runtime.sources + file, "runtime" + file))
      return fail(module, std::move(error));

  // 3. The trainer.
  if (compile) {
    std::vector<std::string> units;
    for (const SourceFile &source : *sources)
      if (isUnit(source.path))
        units.push_back(source.path);
    auto tools = findToolchain(options, runtime);
    if (!tools) {
      report() << llvm::toString(tools.takeError());
      return kFailed;
    }
    if (auto failure = compileTrainer(folder.path(), units, *tools, folder.target() + ".log")) {
      auto diagnostic = report() << failure->what;
      if (!failure->tail.empty())
        diagnostic.attachNote() << failure->tail;
      return kFailed;
    }
  }
  if (auto error = folder.commit())
    return fail(module, std::move(error));
  if (lacksNvcc)
    emitWarning(UnknownLoc::get(module.getContext()))
        << "nvcc is neither in PATH nor in $CUDA_HOME, so the trainer is not built; on a machine "
           "with CUDA run 'make -C "
        << folder.target() << "'";
  return kDone;
}
