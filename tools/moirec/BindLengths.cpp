//===- BindLengths.cpp - moirec --bind seq=128|512 ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "BindLengths.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "moire/Support/Diagnostics.h"
#include "moire/Support/Dialects.h"
#include "moire/Support/StageCuts.h"
#include "llvm/ADT/STLExtras.h"

using namespace moire;
using llvm::StringRef;

/// "seq=128|512" in its sizes; of "batch=2" there is one.
static std::vector<std::string> sizesOf(StringRef entry) {
  auto [name, list] = entry.split('=');
  std::vector<std::string> sizes;
  llvm::SmallVector<StringRef> parts;
  list.split(parts, '|');
  for (StringRef part : parts)
    sizes.push_back((name + "=" + part).str());
  return sizes;
}

/// The --bind of each length; one where there are no lists.
static std::optional<std::string> splitLists(const std::vector<std::string> &bind,
                                             std::vector<std::vector<std::string>> &lengths) {
  std::string first;
  size_t count = 1;
  for (const std::string &entry : bind) {
    const size_t own = sizesOf(entry).size();
    if (own == 1)
      continue;
    if (!first.empty() && own != count)
      return "--bind has " + std::to_string(count) + " sizes in " + first + " and " +
             std::to_string(own) + " in " + entry +
             "; their first ones belong together, and so on: "
             "list equally many";
    first = entry;
    count = own;
  }
  lengths.resize(count);
  for (const std::string &entry : bind) {
    const std::vector<std::string> sizes = sizesOf(entry);
    for (size_t i = 0; i < count; ++i)
      lengths[i].push_back(sizes[sizes.size() == 1 ? 0 : i]);
    if (count > 1 && llvm::any_of(sizes, [](StringRef size) { return size.ends_with("=auto"); }))
      return "--bind " + entry +
             " leaves a size to the compiler and lists sizes of a dimension; "
             "find the size for the longest alone, and write it";
  }
  return std::nullopt;
}

std::optional<std::string> moire::readLengths(CompileOptions &options,
                                              std::vector<BoundLength> &others) {
  std::vector<std::vector<std::string>> binds;
  if (auto error = splitLists(options.bind, binds))
    return error;
  if (binds.size() == 1)
    return std::nullopt;
  // Which is the longest only the model tells.
  CompileOptions trial = options;
  trial.stopAfter = Phase::train;
  trial.dumpPhases.clear();
  trial.placement.clear();
  trial.explain = trial.explainOverlap = false;
  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  UserDiagnostics diagnostics(&context);
  for (const std::vector<std::string> &bind : binds) {
    trial.bind = bind;
    auto module = runPhases(trial, context);
    if (!module)
      return std::string();
    others.push_back({target::lengthOf(*module), bind});
  }
  llvm::stable_sort(others, [](const auto &a, const auto &b) { return a.seq > b.seq; });
  options.bind = others.front().bind;
  if (!options.dumpPhases.empty())
    options.dumpPhases = dumpFolder(options.dumpPhases, others.front().seq);
  others.erase(others.begin());
  return std::nullopt;
}

std::string moire::dumpFolder(const std::string &folder, int64_t seq) {
  return folder + "/seq" + std::to_string(seq);
}

bool moire::compileOthers(const CompileOptions &options, const std::vector<BoundLength> &others,
                          mlir::ModuleOp first, mlir::MLIRContext &context,
                          std::vector<mlir::OwningOpRef<mlir::ModuleOp>> &modules,
                          std::vector<target::EmitSource> &sources) {
  CompileOptions own = options;
  own.placement.clear();
  own.configuration.clear();
  own.explain = own.explainOverlap = false;
  own.stageEnds = first->getAttr(kStageEndsAttr);
  const std::string dumps = StringRef(options.dumpPhases).rsplit('/').first.str(); // of all lengths
  for (const BoundLength &length : others) {
    own.bind = length.bind;
    if (!dumps.empty())
      own.dumpPhases = dumpFolder(dumps, length.seq);
    std::string plan;
    auto module = runPhases(own, context, &plan);
    if (!module)
      return false;
    sources.push_back({*module, plan});
    modules.push_back(std::move(module));
  }
  return true;
}
