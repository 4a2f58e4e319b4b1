//===- Measured.cpp - A schedule beside what a trainer did ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Measured.h"
#include "moire/Scheduling/Render.h"
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

using namespace moire::plan;
using namespace moire::scheduling;

double MeasuredStep::busy() const {
  double sum = 0;
  for (const Process &process : processes)
    for (size_t i = 0; i < process.start.size(); ++i)
      sum += process.finish[i] - process.start[i];
  return sum;
}

Timing MeasuredStep::timing(const Problem &problem) const {
  Timing timing;
  timing.start.resize(problem.ranks);
  timing.finish.resize(problem.ranks);
  timing.makespan = makespan;
  for (auto it = processes.rbegin(); it != processes.rend(); ++it) {
    timing.start[it->rank] = it->start;
    timing.finish[it->rank] = it->finish;
  }
  return timing;
}

namespace {
/// A task's event.
struct TaskEvent {
  long step, round;
  double begin, end; ///< seconds
  std::vector<moire::scheduling::Task> tasks;
};

bool readTask(const nlohmann::json &json, moire::scheduling::Task &task) {
  static const std::string letters = "FBbW";
  const std::string kind = json.at("kind");
  const size_t at = kind.size() == 1 ? letters.find(kind) : std::string::npos;
  if (at == std::string::npos)
    return false;
  task = {static_cast<TaskKind>(at), json.at("path"), json.at("stage"), json.at("micro_batch")};
  return true;
}
} // namespace

/// [process] → its tasks' events, and its rank of pp. Throws nlohmann's exceptions.
static bool readTaskEvents(const nlohmann::json &json,
                           std::map<long, std::vector<TaskEvent>> &events,
                           std::map<long, int> &ranks) {
  for (const nlohmann::json &e : json.at("traceEvents")) {
    if (e.at("name") == "process_name")
      ranks[e.at("pid")] = e.at("args").value("pp", 0);
    if (e.at("ph") != "X" || !e.contains("args") || !e["args"].contains("tasks"))
      continue;
    TaskEvent event;
    event.step = e["args"].at("step");
    event.round = e["args"].at("round");
    event.begin = e.at("ts").get<double>() * 1e-6;
    event.end = event.begin + e.at("dur").get<double>() * 1e-6;
    for (const nlohmann::json &task : e["args"]["tasks"])
      if (!readTask(task, event.tasks.emplace_back()))
        return false;
    events[e.at("pid")].push_back(event);
  }
  return true;
}

/// (step, round) of the last one that has as many tasks as the schedule, since with a batch ramp
/// steps have several; of the last one where none has.
static std::pair<long, long> lastRound(const Outcome &outcome,
                                       const std::map<long, std::vector<TaskEvent>> &events,
                                       std::map<long, int> &ranks) {
  std::map<std::pair<long, long>, size_t> counts;
  size_t due = 0;
  for (const auto &[number, list] : events) {
    for (const TaskEvent &e : list)
      counts[{e.step, e.round}] += e.tasks.size();
    if (const int rank = ranks[number]; rank >= 0 && rank < outcome.problem.ranks)
      for (const Action &action : outcome.schedule.ranks[rank])
        due += action.size();
  }
  for (auto it = counts.rbegin(); it != counts.rend(); ++it)
    if (it->second == due)
      return it->first;
  return counts.rbegin()->first;
}

Refusal moire::plan::readMeasured(const std::string &path, const Outcome &outcome,
                                  MeasuredStep &measured) {
  std::ifstream file(path);
  if (!file)
    return text("cannot read --measured '", path, "'");
  std::map<long, std::vector<TaskEvent>> events;
  std::map<long, int> ranks;
  bool good = false;
  try {
    good = readTaskEvents(nlohmann::json::parse(file), events, ranks);
  } catch (const nlohmann::json::exception &) {
  }
  if (!good || events.empty())
    return text("--measured '", path,
                "' has no tasks of a pipeline; give what a trainer compiled with pp in --mesh "
                "writes by --trace");
  const auto [step, round] = lastRound(outcome, events, ranks);
  const Problem &problem = outcome.problem;
  double first = INFINITY, last = 0;
  for (auto &[number, list] : events) {
    MeasuredStep::Process process{number, ranks[number], {}, {}};
    std::vector<std::pair<moire::scheduling::Task, const TaskEvent *>> tasks;
    for (const TaskEvent &e : list)
      if (e.step == step && e.round == round)
        for (const moire::scheduling::Task &task : e.tasks)
          tasks.push_back({task, &e});
    if (process.rank < 0 || process.rank >= problem.ranks)
      return text("--measured '", path, "' has a rank ", process.rank, " of pp, the schedule has ",
                  problem.ranks, "; give the trace and the plan of one program");
    // A pair may have run as one function or as two.
    size_t next = 0;
    for (const Action &action : outcome.schedule.ranks[process.rank]) {
      for (int i = 0; i < action.size(); ++i, ++next) {
        if (next < tasks.size() && tasks[next].first == action[i])
          continue;
        return text("--measured '", path, "' is of another program: task ", next + 1, " of rank ",
                    process.rank, " of pp is ",
                    next < tasks.size() ? describe(problem, tasks[next].first) : "missing",
                    ", in the schedule it is ", describe(problem, action[i]),
                    "; give the trace and the plan of one program");
      }
      process.start.push_back(tasks[next - action.size()].second->begin);
      process.finish.push_back(tasks[next - 1].second->end);
      first = std::min(first, process.start.back());
      last = std::max(last, process.finish.back());
    }
    if (next != tasks.size())
      return text("--measured '", path, "' is of another program: rank ", process.rank,
                  " of pp has ", tasks.size(), " tasks, in the schedule ", next,
                  "; give the trace and the plan of one program");
    measured.processes.push_back(process);
  }
  for (MeasuredStep::Process &process : measured.processes)
    for (std::vector<double> *times : {&process.start, &process.finish})
      for (double &time : *times)
        time -= first;
  measured.makespan = last - first;
  measured.path = path;
  measured.step = step;
  return {};
}

namespace {
/// Times of one kind of action.
struct ActionRow {
  double planned = 0, measured = 0, shortest = INFINITY, longest = 0;
  long plannedCount = 0, count = 0;
};
} // namespace

/// `F stage 0` or `F stage 0 + B stage 3`.
static std::string nameOfAction(const Action &action) {
  std::string name;
  for (int i = 0; i < action.size(); ++i)
    name += text(i ? " + " : "", letter(action[i].kind), " stage ", action[i].stage);
  return name;
}

static std::map<std::string, ActionRow> rowsOf(const Outcome &outcome,
                                               const MeasuredStep &measured) {
  std::map<std::string, ActionRow> rows;
  for (int r = 0; r < outcome.problem.ranks; ++r)
    for (size_t i = 0; i < outcome.schedule.ranks[r].size(); ++i) {
      ActionRow &row = rows[nameOfAction(outcome.schedule.ranks[r][i])];
      row.planned += outcome.timing.finish[r][i] - outcome.timing.start[r][i];
      ++row.plannedCount;
    }
  for (const MeasuredStep::Process &process : measured.processes)
    for (size_t i = 0; i < process.start.size(); ++i) {
      ActionRow &row = rows[nameOfAction(outcome.schedule.ranks[process.rank][i])];
      const double time = process.finish[i] - process.start[i];
      row.measured += time;
      row.shortest = std::min(row.shortest, time);
      row.longest = std::max(row.longest, time);
      ++row.count;
    }
  for (auto &[name, row] : rows) {
    row.planned /= static_cast<double>(row.plannedCount);
    row.measured /= static_cast<double>(std::max(1L, row.count));
  }
  return rows;
}

static double bubbleOf(const MeasuredStep &measured) {
  return 1 - measured.busy() / (measured.makespan * static_cast<double>(measured.processes.size()));
}

void moire::plan::writeMeasured(std::ostream &out, const Outcome &outcome,
                                const MeasuredStep &measured, const Units &units) {
  const auto times = [&](double a, double b) {
    std::ostringstream ratio;
    ratio << std::setprecision(3) << b / a;
    return a > 0 ? ratio.str() : "-";
  };
  out << "measured in step " << measured.step << " of '" << measured.path << "' on "
      << measured.processes.size() << " ranks\n";
  Table table({"", "planned", "measured", "measured / planned", "shortest", "longest",
               "measured tasks"});
  for (const auto &[name, row] : rowsOf(outcome, measured))
    table.add({name, units.time(row.planned), units.time(row.measured),
               times(row.planned, row.measured), units.time(row.shortest), units.time(row.longest),
               std::to_string(row.count)});
  table.add({"step", units.time(outcome.timing.makespan), units.time(measured.makespan),
             times(outcome.timing.makespan, measured.makespan), "", "", ""});
  table.add({"bubble", percent(outcome.timing.bubble()), percent(bubbleOf(measured)), "", "", "",
             ""});
  table.write(out);
}

nlohmann::ordered_json moire::plan::measuredJson(const Outcome &outcome,
                                                 const MeasuredStep &measured) {
  nlohmann::ordered_json json;
  json["trace"] = measured.path;
  json["step"] = measured.step;
  json["makespan"] = measured.makespan;
  json["bubble"] = bubbleOf(measured);
  for (const auto &[name, row] : rowsOf(outcome, measured))
    json["tasks"].push_back({{"task", name},
                             {"planned", row.planned},
                             {"measured", row.measured},
                             {"shortest", row.shortest},
                             {"longest", row.longest},
                             {"count", row.count}});
  return json;
}

void moire::plan::drawMeasured(std::ostream &out, const Outcome &outcome,
                               const MeasuredStep &measured) {
  double planned = 0;
  for (const MeasuredStep::Process &process : measured.processes)
    planned += outcome.timing.ranks[process.rank].busy;
  writeSvg(out, outcome.problem, outcome.schedule, outcome.timing, measured.timing(outcome.problem),
           planned > 0 ? measured.busy() / planned : 1);
}
