//===- Report.cpp - Outcomes as text -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Report.h"
#include "moire/Scheduling/Render.h"
#include <algorithm>
#include <ostream>

using namespace moire::plan;
using namespace moire::scheduling;

void Table::addNote(const std::string &first, const std::string &sentence) {
  rows.push_back({first});
  notes.emplace_back(rows.size() - 1, sentence);
}

void Table::write(std::ostream &out) const {
  std::vector<size_t> widths(rows[0].size());
  for (const auto &row : rows)
    for (size_t c = 0; c < row.size(); ++c)
      widths[c] = std::max(widths[c], row[c].size());
  size_t note = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const bool word = c == 0 || c + words >= widths.size();
      const std::string gap(widths[c] - rows[r][c].size(), ' ');
      line += (c > 0 ? "  " : "") + (word ? rows[r][c] + gap : gap + rows[r][c]);
    }
    if (note < notes.size() && notes[note].first == r)
      line += "  " + notes[note++].second;
    out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

void moire::plan::writeFittingTimetable(std::ostream &out, const Outcome &outcome,
                                        const ReportOptions &options) {
  const size_t most = 10000; // wider ones have names cut
  TextOptions render;
  render.width = most;
  std::ostringstream whole;
  writeTimetable(whole, outcome.problem, outcome.schedule, outcome.timing, render);
  const std::string rows = whole.str();
  size_t widest = 0, begin = 0;
  for (size_t end; (end = rows.find('\n', begin)) != std::string::npos; begin = end + 1)
    widest = std::max(widest, end - begin);
  if (!options.timetable && widest > static_cast<size_t>(options.width)) {
    out << "The timetable is " << (widest > most ? "more than " : "") << std::min(widest, most)
        << " columns wide, --width is " << options.width
        << ": --timetable prints it, --svg and --trace draw it.\n";
    return;
  }
  out << rows;
}

/// `18.26 s: rank 7 has no backward …`, of a step.
static std::string boundText(const Bound &bound, const Units &units, double optimizer) {
  const std::string time = units.time(bound.time + optimizer);
  switch (bound.why) {
  case Bound::Way:
    return time + ", the way of one micro-batch down all stages and back";
  case Bound::FirstBackward:
    return text(time, ": rank ", bound.rank, " can have no backward before ",
                units.time(bound.wait), ", of which ",
                bound.byMemory ? "its memory lets forwards" : "forwards can", " fill ",
                units.time(bound.filled));
  case Bound::LastForward:
    return text(time, ": after the last forward of rank ", bound.rank, " the step goes on for ",
                units.time(bound.wait), ", of which ",
                bound.byMemory ? "its memory lets backwards" : "backwards can", " fill ",
                units.time(bound.filled));
  }
  return time;
}

/// What was compiled: where each stage begins, what it takes and holds.
static void writeStages(std::ostream &out, const Outcome &outcome, const Units &units) {
  const Problem &problem = outcome.problem;
  Table table({"stage", "ranks", "F", "B", "b", "W", "F + B", "parameters", "kept", "sent",
               "begins at"},
              1);
  for (int s = 0; s < problem.numStages(); ++s) {
    const StageCost &cost = problem.stages[s];
    std::string ranks;
    for (const std::vector<int> &place : problem.rankOf)
      ranks += (ranks.empty() ? "" : ",") + std::to_string(place[s]);
    table.add({std::to_string(s), ranks, units.time(cost.forward), units.time(cost.backward),
               units.time(cost.backwardInput), units.time(cost.backwardWeight),
               cost.forwardWithBackward > 0 ? units.time(cost.forwardWithBackward) : "-",
               units.memory(cost.parameterBytes), units.memory(cost.activationBytes),
               units.memory(cost.outputBytes), outcome.begins[s]});
  }
  table.write(out);
  out << "\n";
}

void moire::plan::writeReport(std::ostream &out, const Outcome &outcome, const Units &units,
                              double optimizer, const ReportOptions &options) {
  const Problem &problem = outcome.problem;
  const Timing &timing = outcome.timing;
  if (!outcome.model.empty())
    out << outcome.model << "\n";
  out << outcome.name << " on " << problem.ranks << " ranks: " << problem.numStages() << " stages, "
      << problem.totalMicroBatches() << " micro-batches\n";
  if (!outcome.how.empty())
    out << "  found by             " << outcome.how << "\n  none here is below   "
        << boundText(outcome.bound, units, optimizer) << "\n";
  out << "  step                 " << units.time(timing.makespan + optimizer);
  if (optimizer > 0)
    out << " = " << units.time(timing.makespan) << " makespan + " << units.time(optimizer)
        << " optimizer";
  out << "\n  bubble               " << percent(timing.bubble()) << " of the makespan\n"
      << "  exposed transfers    "
      << percent(timing.exposedCommunication() / (timing.makespan * problem.ranks))
      << " of the makespan\n"
      << "  peak memory          " << units.memory(timing.peakBytes()) << " (at most "
      << outcome.activations() << " activations on a rank)\n\n";
  Table table({"rank", "busy", "idle", "waits for transfers", "busy with collectives",
               "peak memory", "activations"});
  for (int r = 0; r < problem.ranks; ++r) {
    const RankTiming &row = timing.ranks[r];
    table.add({std::to_string(r), units.time(row.busy), units.time(row.idle),
               units.time(row.transferWait), units.time(row.collective),
               units.memory(row.peakBytes), std::to_string(row.peakActivations)});
  }
  table.write(out);
  out << "\n";
  if (!outcome.begins.empty())
    writeStages(out, outcome, units);
  writeFittingTimetable(out, outcome, options);
}

void moire::plan::writeComparison(std::ostream &out, const std::vector<Outcome> &outcomes,
                                  const Units &units, double optimizer) {
  double best = INFINITY;
  for (const Outcome &outcome : outcomes)
    if (!outcome.refused)
      best = std::min(best, outcome.timing.makespan + optimizer);
  Table table({"schedule", "step", "of the best", "bubble", "exposed transfers", "peak memory",
               "activations"});
  for (const Outcome &outcome : outcomes) {
    if (outcome.refused) {
      table.addNote(outcome.name, "not possible: " + *outcome.refused);
      continue;
    }
    const Timing &timing = outcome.timing;
    const double step = timing.makespan + optimizer;
    table.add({outcome.name, units.time(step), percent(step / best), percent(timing.bubble()),
               percent(timing.exposedCommunication() / (timing.makespan * outcome.problem.ranks)),
               units.memory(timing.peakBytes()), std::to_string(outcome.activations())});
  }
  table.write(out);
  for (const Outcome &outcome : outcomes)
    if (!outcome.how.empty())
      out << "\n"
          << outcome.name << " was found by " << outcome.how
          << "; no schedule on its placement is below "
          << boundText(outcome.bound, units, optimizer) << ".\n";
}
