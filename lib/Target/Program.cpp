//===- Program.cpp - Writes and compiles the output folder ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Target/Program.h"
#include "Folder.h"
#include "HostCompiler.h"
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

int target::emitProgram(ModuleOp module, const EmitOptions &options) {
  auto report = [&] { return emitError(UnknownLoc::get(module.getContext())); };
  // 1. All text, before anything is written.
  auto info = collectProgram(module, options);
  if (failed(info))
    return kWrongInput;
  auto sources = emitSources(*info);
  if (failed(sources))
    return kWrongInput;
  RuntimePaths runtime = findRuntime();
  if (runtime.sources.empty() || (options.compile && runtime.library.empty())) {
    report() << "the runtime's " << (runtime.sources.empty() ? "sources are" : "library is")
             << " not where Moiré was built nor beside its executable; build target moire_rt";
    return kFailed;
  }

  // 2. The folder.
  auto created = OutputFolder::create(options.output);
  if (!created)
    return fail(module, created.takeError());
  OutputFolder &folder = **created;
  std::string plan;
  llvm::raw_string_ostream os(plan);
  module.print(os, OpPrintingFlags().enableDebugInfo(true, false));
  std::vector<SourceFile> files = *sources;
  files.push_back({"program.mlir", os.str()});
  files.push_back({"params.json", parametersJson(*info)});
  files.push_back({"CMakeLists.txt", cmakeText(*info, *sources)});
  files.push_back({"Makefile", makefileText(*info, *sources)});
  files.push_back({kMarkerFile, markerJson(*info)});
  for (const SourceFile &file : files)
    if (auto error = folder.write(file.path, file.text))
      return fail(module, std::move(error));
  for (const char *part : {"/include", "/lib"})
    if (auto error = folder.copyTree(runtime.sources + part, "runtime" + std::string(part)))
      return fail(module, std::move(error));
  if (auto error = folder.copyFile(runtime.sources + "/CMakeLists.txt", "runtime/CMakeLists.txt"))
    return fail(module, std::move(error));

  // 3. The trainer.
  if (options.compile) {
    std::vector<std::string> units;
    for (const SourceFile &source : *sources)
      if (StringRef(source.path).ends_with(".cpp"))
        units.push_back(source.path);
    if (auto failure = compileTrainer(folder.path(), units, runtime, folder.target() + ".log")) {
      auto diagnostic = report() << failure->what;
      if (!failure->tail.empty())
        diagnostic.attachNote() << failure->tail;
      return kFailed;
    }
  }
  if (auto error = folder.commit())
    return fail(module, std::move(error));
  return kDone;
}
