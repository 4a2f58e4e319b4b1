//===- ScheduleFiles.cpp - Schedules as IR in files ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ScheduleFiles.h"
#include "mlir/Parser/Parser.h"
#include "moire/Pipe/ScheduleIR.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/SourceMgr.h"
#include <ostream>

using namespace moire;
using namespace moire::plan;

/// `'FILE.mlir' line 3: sentence` of the first error of a context.
namespace {
class FirstError : public mlir::ScopedDiagnosticHandler {
public:
  explicit FirstError(mlir::MLIRContext *context) : ScopedDiagnosticHandler(context) {
    setHandler([this](mlir::Diagnostic &diagnostic) {
      if (!sentence.empty() || diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error)
        return;
      if (auto at = diagnostic.getLocation()->findInstanceOf<mlir::FileLineColLoc>())
        sentence = plan::text("'", at.getFilename().str(), "' line ", at.getLine(), ": ");
      sentence += diagnostic.str();
    });
  }
  std::string sentence;
};
} // namespace

static void prepare(mlir::MLIRContext &context) {
  mlir::DialectRegistry registry;
  registerDialects(registry);
  context.appendDialectRegistry(registry);
}

Refusal moire::plan::readSchedules(const std::string &path, const std::vector<std::string> &names,
                                   std::vector<Outcome> &outcomes) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  prepare(context);
  FirstError error(&context);
  auto file = llvm::MemoryBuffer::getFileOrSTDIN(path);
  if (!file)
    return text("cannot read '", path, "': ", file.getError().message());
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(*file), llvm::SMLoc());
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
  if (!module)
    return error.sentence.empty() ? text("'", path, "' is no MLIR") : error.sentence;
  std::vector<pipe::ScheduleOp> schedules;
  std::vector<std::string> known;
  module->walk([&](pipe::ScheduleOp op) {
    schedules.push_back(op);
    known.push_back(op.getSymName().str());
  });
  if (schedules.empty())
    return text("'", path,
                "' has 0 schedules, showing takes at least 1; the pass pipe-schedule "
                "and moire-plan --mlir write one");
  for (const std::string &name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      return text("'", path, "' has no schedule named '", name, "'; use one of ", list(known));
  for (pipe::ScheduleOp op : schedules) {
    const std::string name = op.getSymName().str();
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end())
      continue;
    Outcome outcome;
    outcome.name = name;
    if (mlir::failed(readSchedule(op, outcome.problem, outcome.schedule)))
      return error.sentence;
    if (Refusal refusal = verify(outcome.problem, outcome.schedule))
      return text("'", path, "': ", *refusal);
    outcome.timing = simulate(outcome.problem, outcome.schedule);
    if (auto begins = (*module)->getAttrOfType<mlir::ArrayAttr>("moire.begins");
        begins && begins.size() == outcome.problem.stages.size())
      for (mlir::Attribute node : begins)
        if (auto text = mlir::dyn_cast<mlir::StringAttr>(node))
          outcome.begins.push_back(text.str());
    for (const char *name : {"moire.model", "moire.mesh"})
      if (auto text = (*module)->getAttrOfType<mlir::StringAttr>(name))
        outcome.model += (outcome.model.empty() ? "" : " on ") + text.str();
    outcomes.push_back(std::move(outcome));
  }
  return {};
}

void moire::plan::writeSchedules(std::ostream &out, const std::vector<Outcome> &outcomes) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  prepare(context);
  context.loadAllAvailableDialects();
  const mlir::Location loc = mlir::UnknownLoc::get(&context);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(loc);
  long made = 0;
  for (const Outcome &outcome : outcomes)
    made += !outcome.refused;
  for (const Outcome &outcome : outcomes) {
    if (outcome.refused)
      continue;
    mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(module->getBody());
    if (made > 1) {
      auto inner = builder.create<mlir::ModuleOp>(loc, llvm::StringRef(outcome.name));
      builder.setInsertionPointToStart(inner.getBody());
    }
    buildSchedule(builder, loc, outcome.name, outcome.problem, outcome.name, outcome.schedule);
  }
  std::string printed;
  llvm::raw_string_ostream stream(printed);
  module->print(stream);
  out << stream.str() << "\n";
}
