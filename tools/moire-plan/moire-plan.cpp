//===- moire-plan.cpp - What a training step will cost, before it runs ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "CommandLine.h"
#include "Measured.h"
#include "ScheduleFiles.h"
#include "moire/CostModel/Share.h"
#include "moire/Scheduling/Render.h"
#include "llvm/Support/InitLLVM.h"
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

using namespace moire::plan;
using Json = nlohmann::ordered_json;

/// One sentence to stderr and the exit code for wrong input.
static int refuse(const std::string &sentence) {
  std::cerr << "error: " << sentence << "\n";
  return 1;
}

/// Text, picture, trace and JSON of schedules that were run.
static Refusal reportSchedules(const CommandLine &line, const std::vector<Outcome> &outcomes,
                               const Units &units, double optimizer, std::ostream &out,
                               Files &files) {
  for (const auto &[flag, path] : {std::pair{"--svg", line.svg}, {"--trace", line.trace}})
    if (!path.empty() && outcomes.size() != 1)
      return text(flag, " draws one schedule, not ", outcomes.size(),
                  "; name one with --schedule, for example --schedule ", outcomes[0].name);
  // With several, one that is not possible is a row of the table; with all, it is an error.
  bool any = false;
  for (const Outcome &outcome : outcomes)
    any |= !outcome.refused;
  if (!any)
    return outcomes[0].refused;
  if (outcomes.size() == 1)
    writeReport(out, outcomes[0], units, optimizer, line.report);
  else
    writeComparison(out, outcomes, units, optimizer);
  const Outcome &first = outcomes[0];
  std::optional<MeasuredStep> measured;
  if (!line.measured.empty()) {
    if (outcomes.size() != 1)
      return text("--measured is of one schedule, not of ", outcomes.size(),
                  "; name one with --schedule");
    if (Refusal refusal = readMeasured(line.measured, first, measured.emplace()))
      return refusal;
    out << "\n";
    writeMeasured(out, first, *measured, units);
  }
  files.add(line.svg, [&](std::ostream &file) {
    if (measured)
      drawMeasured(file, first, *measured);
    else
      moire::scheduling::writeSvg(file, first.problem, first.schedule, first.timing);
  });
  files.add(line.trace, [&](std::ostream &file) {
    // Without a unit, a unit of time is shown as a millisecond.
    moire::scheduling::writeChromeTrace(file, first.problem, first.schedule, first.timing,
                                        units.seconds ? 1 : 1000);
  });
  files.add(line.mlir, [&](std::ostream &file) { writeSchedules(file, outcomes); });
  files.add(line.json, [&](std::ostream &file) {
    Json all;
    for (const Outcome &outcome : outcomes)
      all["schedules"].push_back(scheduleJson(outcome, units, optimizer));
    if (measured)
      all["measured"] = measuredJson(first, *measured);
    file << all.dump(1) << "\n";
  });
  return {};
}

static Refusal planProblem(CommandLine &line, std::ostream &out, Files &files) {
  if (!line.problem.empty())
    if (Refusal refusal = readWorkloadFile(line.problem, line.workload))
      return refusal;
  if (line.workload.schedules.empty())
    line.workload.schedules = {"all"};
  NamedWorkload named;
  std::vector<std::string> names;
  if (Refusal refusal = expandSchedules(line.workload.schedules, names))
    return refusal;
  if (Refusal refusal = readWorkload(line.workload, named))
    return refusal;
  return reportSchedules(line, runSchedules(named.workload, names, line.budget), named.units,
                         named.optimizer, out, files);
}

static Refusal showFile(CommandLine &line, std::ostream &out, Files &files) {
  const std::pair<const char *, const char *> others[] = {
      {".onnx", "a model; give it as --model"},
      {".csv", "a table of loads; give it as --balance"},
      {".toml", "settings; give it as --problem, --model, --cluster or --plan"}};
  for (const auto &[ending, what] : others)
    if (llvm::StringRef(line.input).ends_with(ending))
      return text("'", line.input, "' is ", what);
  std::vector<Outcome> outcomes;
  if (Refusal refusal = readSchedules(line.input, line.workload.schedules, outcomes))
    return refusal;
  Units units; // the IR does not name them, but a bandwidth is by the second
  for (const Outcome &outcome : outcomes)
    units.seconds |= std::isfinite(outcome.problem.link.bandwidth) || !outcome.begins.empty();
  for (const Outcome &outcome : outcomes)
    units.bytes |= !outcome.begins.empty();
  return reportSchedules(line, outcomes, units, 0, out, files);
}

static Refusal runBalance(CommandLine &line, std::ostream &out, Files &files) {
  line.balance.output = line.output;
  line.balance.json = line.json;
  return balance(line.balance, out, files);
}

static Refusal runCalibrate(CommandLine &line, std::ostream &out, Files &files) {
  line.calibrate.output = line.output;
  line.calibrate.json = line.json;
  return calibrate(line.calibrate, out, files);
}

static Refusal runModel(CommandLine &line, std::ostream &out, Files &files) {
  ModelRequest &model = line.model;
  model.schedules = line.workload.schedules;
  model.microBatches = line.workload.microBatches;
  model.memoryLimit = line.workload.memoryLimit;
  model.devices = line.balance.gpus;
  model.output = line.output;
  model.json = line.json;
  model.svg = line.svg;
  model.trace = line.trace;
  model.report = line.report;
  return planModel(model, out, files);
}

/// A task, what asks for it, and what may be given with it.
struct Task {
  const char *flag;
  bool asked;
  Refusal (*run)(CommandLine &, std::ostream &, Files &);
  std::set<std::string> groups, flags;
};

/// Refuses the first flag that the task would not look at.
static Refusal refuseUnused(const CLI::App &app, const Task &task) {
  for (const CLI::Option *option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->count() > 0 && name != "input" && !task.groups.count(option->get_group()) &&
        !task.flags.count(name))
      return text(name, " has no effect on ", task.flag, "; leave it out");
  }
  return {};
}

static Refusal runTask(const CLI::App &app, CommandLine &line, std::ostream &out, Files &files) {
  const std::set<std::string> drawing = {"--json",  "--mlir",      "--svg",
                                         "--trace", "--timetable", "--width"};
  std::set<std::string> showing = drawing, model = drawing;
  showing.insert({"--schedule", "--measured"});
  model.insert({"--microbatches", "--memory-limit", "--gpus", "-o"});
  model.erase("--mlir");
  const Task tasks[] = {
      {"a FILE.mlir", !line.input.empty(), showFile, {}, showing},
      {"--balance", !line.balance.loads.empty(), runBalance, {kBalanceGroup}, {"-o", "--json"}},
      {"--calibrate", line.calibrate.wanted, runCalibrate, {kCalibrateGroup}, {"-o", "--json"}},
      {"--model", !line.model.model.empty(), runModel, {kModelGroup, kScheduleGroup}, model},
      {"--problem", !line.problem.empty(), planProblem, {kPipelineGroup, kScheduleGroup}, drawing},
      {"--ranks",
       !line.workload.ranks.empty(),
       planProblem,
       {kPipelineGroup, kScheduleGroup},
       drawing}};
  const Task *chosen = nullptr;
  for (const Task &task : tasks) {
    if (!task.asked)
      continue;
    // Ranks may come on top of a problem's file.
    if (chosen && chosen->run != task.run)
      return text(chosen->flag, " and ", task.flag, " are two tasks; use one of them");
    if (!chosen)
      chosen = &task;
  }
  if (!chosen)
    return text("nothing to plan; give a FILE.mlir, --ranks and --microbatches, --model and "
                "--cluster, --balance or --calibrate; moire-plan --help has examples");
  if (Refusal refusal = refuseUnused(app, *chosen))
    return refusal;
  return chosen->run(line, out, files);
}

int main(int argc, char **argv) {
  llvm::InitLLVM initLLVM(argc, argv);
  CLI::App app(
      "Moiré: what a training step will cost before it runs: schedules of pipelines, plans "
      "of models on clusters, placement of experts.\n\nExit codes: 0 done, 1 wrong input or usage.",
      "moire-plan");
  CommandLine line;
  line.model.share = moire::cost::shareFolder();
  declareOptions(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &help) {
    return app.exit(help);
  } catch (const CLI::ParseError &error) {
    return refuse(std::string(error.what()) + "; moire-plan --help lists the options");
  }
  std::ostringstream out;
  Files files;
  if (Refusal refusal = runTask(app, line, out, files))
    return refuse(*refusal);
  if (Refusal refusal = files.write())
    return refuse(*refusal);
  if (!files.ownsStdout())
    std::cout << out.str();
  return 0;
}
