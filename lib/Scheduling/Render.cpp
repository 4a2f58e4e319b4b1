//===- Render.cpp - Timetables, pictures, traces --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Render.h"
#include "Graph.h"
#include "Text.h"
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>

using namespace moire::scheduling;

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// `3` on lane 0, `d` on lane 1 (letters from 26 on are `a1`, …), with the lane behind a colon
/// beyond.
static std::string label(const Problem &problem, const Task &task) {
  const int lane = laneOf(problem, task), m = task.microBatch;
  std::string name = std::to_string(m);
  if (lane == 1)
    name =
        std::string(1, static_cast<char>('a' + m % 26)) + (m >= 26 ? std::to_string(m / 26) : "");
  else if (lane > 1)
    name += ":" + std::to_string(lane);
  switch (task.kind) {
  case TaskKind::Forward:
    return name;
  case TaskKind::Backward:
    return "<" + name + ">";
  case TaskKind::BackwardInput:
    return "[" + name + "]";
  case TaskKind::BackwardWeight:
    return "{" + name + "}";
  }
  return name;
}

static std::string label(const Problem &problem, const Action &action) {
  if (!action.second)
    return label(problem, action.first);
  std::string second = label(problem, *action.second);
  if (action.second->kind == TaskKind::Backward)
    second = second.substr(1, second.size() - 2);
  return label(problem, action.first) + "+" + second;
}

void moire::scheduling::writeTimetable(std::ostream &out, const Problem &problem,
                                       const Schedule &schedule, const Timing &timing,
                                       const TextOptions &options) {
  double column = options.column;
  if (column <= 0) {
    // As narrow as every name fits whole, as far as the width allows.
    column = INFINITY;
    for (int r = 0; r < problem.ranks; ++r)
      for (size_t i = 0; i < schedule.ranks[r].size(); ++i) {
        const double time = timing.finish[r][i] - timing.start[r][i];
        if (time > 0)
          column = std::min(
              column, time / static_cast<double>(label(problem, schedule.ranks[r][i]).size() + 1));
      }
    column = std::max(column, timing.makespan / std::max(1, options.width));
  }
  const size_t digits = std::to_string(problem.ranks - 1).size();
  for (int r = 0; r < problem.ranks; ++r) {
    std::string row;
    for (size_t i = 0; i < schedule.ranks[r].size(); ++i) {
      const size_t from = static_cast<size_t>(std::lround(timing.start[r][i] / column));
      const size_t to = static_cast<size_t>(std::lround(timing.finish[r][i] / column));
      if (to <= from)
        continue;
      std::string name = label(problem, schedule.ranks[r][i]).substr(0, to - from);
      if (row.size() < from)
        row.resize(from, ' ');
      // A dot of a long action tells it from idle time.
      if (name.size() + 1 < to - from)
        name.append(to - from - 1 - name.size(), '.');
      name.resize(to - from, ' ');
      row += name;
    }
    while (!row.empty() && row.back() == ' ')
      row.pop_back();
    const std::string number = std::to_string(r);
    out << "rank " << std::string(digits - number.size(), ' ') << number << " |" << row << "\n";
  }
}

//===----------------------------------------------------------------------===//
// SVG
//===----------------------------------------------------------------------===//

/// Forwards blue, backwards green, b turquoise, W grey; the second lane darker.
static const char *color(const Problem &problem, const Task &task) {
  static const char *const kColors[4][2] = {{"#8db8e8", "#4f86c6"},
                                            {"#9fd39a", "#5fa458"},
                                            {"#8fd6cc", "#4aa598"},
                                            {"#d5d5d5", "#a9a9a9"}};
  return kColors[static_cast<int>(task.kind)][laneOf(problem, task) % 2];
}

namespace {
struct SvgRow {
  std::string label;
  int rank;
  const Timing *timing;
  double factor; ///< of its times
};
} // namespace

static void drawRows(std::ostream &out, const Problem &problem, const Schedule &schedule,
                     const std::vector<SvgRow> &rows, double left, const std::string &caption) {
  const double width = 1200, height = 24, below = caption.empty() ? 8 : 28;
  double longest = 0;
  for (const SvgRow &row : rows)
    longest = std::max(longest, row.timing->makespan * row.factor);
  const double scale = longest > 0 ? (width - left - 4) / longest : 1;
  const std::ios::fmtflags flags = out.flags();
  const std::streamsize precision = out.precision();
  out << std::fixed << std::setprecision(2);
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\""
      << static_cast<double>(rows.size()) * height + below
      << "\" font-family=\"sans-serif\" font-size=\"10\">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  double top = 4;
  for (const SvgRow &row : rows) {
    const int r = row.rank;
    out << "<text x=\"4\" y=\"" << top + 15 << "\">" << row.label << "</text>\n";
    for (size_t i = 0; i < schedule.ranks[r].size(); ++i) {
      const Action &action = schedule.ranks[r][i];
      const double x = left + row.timing->start[r][i] * row.factor * scale;
      const double w = (row.timing->finish[r][i] - row.timing->start[r][i]) * row.factor * scale;
      out << "<g><title>" << shortName(problem, action) << "</title>";
      for (int k = 0; k < action.size(); ++k) {
        const double h = (height - 4) / action.size();
        out << "<rect x=\"" << x << "\" y=\"" << top + k * h << "\" width=\"" << w << "\" height=\""
            << h << "\" fill=\"" << color(problem, action[k])
            << "\" stroke=\"#ffffff\" stroke-width=\"0.5\"/>";
        const std::string number = std::to_string(action[k].microBatch);
        if (w > 7.0 * static_cast<double>(number.size()))
          out << "<text x=\"" << x + w / 2 << "\" y=\"" << top + k * h + h / 2 + 3.5
              << "\" text-anchor=\"middle\">" << number << "</text>";
      }
      out << "</g>\n";
    }
    top += height;
  }
  if (!caption.empty())
    out << "<text x=\"4\" y=\"" << top + 14 << "\">" << caption << "</text>\n";
  out << "</svg>\n";
  out.flags(flags);
  out.precision(precision);
}

void moire::scheduling::writeSvg(std::ostream &out, const Problem &problem,
                                 const Schedule &schedule, const Timing &timing) {
  std::vector<SvgRow> rows;
  for (int r = 0; r < problem.ranks; ++r)
    rows.push_back({text("rank ", r), r, &timing, 1});
  drawRows(out, problem, schedule, rows, 60, "");
}

void moire::scheduling::writeSvg(std::ostream &out, const Problem &problem,
                                 const Schedule &schedule, const Timing &planned,
                                 const Timing &measured, double factor) {
  std::vector<SvgRow> rows;
  for (int r = 0; r < problem.ranks; ++r) {
    rows.push_back({text("rank ", r, " planned"), r, &planned, factor});
    if (!measured.start[r].empty())
      rows.push_back({text("rank ", r, " measured"), r, &measured, 1});
  }
  drawRows(out, problem, schedule, rows, 110,
           text("Planned times are multiplied by ", factor,
                ", so that tasks take as long together as the measured ones."));
}

//===----------------------------------------------------------------------===//
// Chrome trace
//===----------------------------------------------------------------------===//

void moire::scheduling::writeChromeTrace(std::ostream &out, const Problem &problem,
                                         const Schedule &schedule, const Timing &timing,
                                         double unitsPerSecond) {
  const double micro = 1e6 / unitsPerSecond; // the format's times are microseconds
  bool first = true;
  auto event = [&](const std::string &text) {
    out << (first ? "\n" : ",\n") << text;
    first = false;
  };
  out << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [";
  Graph graph(problem, schedule);
  long flow = 0;
  for (int r = 0; r < problem.ranks; ++r) {
    event(text("{\"ph\": \"M\", \"name\": \"process_name\", \"pid\": ", r,
               ", \"args\": {\"name\": \"rank ", r, "\"}}"));
    double bytes = problem.parameterBytes(r);
    auto counter = [&](double at) {
      event(text("{\"ph\": \"C\", \"name\": \"memory\", \"pid\": ", r, ", \"ts\": ", at * micro,
                 ", \"args\": {\"bytes\": ", bytes, "}}"));
    };
    for (size_t i = 0; i < schedule.ranks[r].size(); ++i) {
      const Action &action = schedule.ranks[r][i];
      const double start = timing.start[r][i], finish = timing.finish[r][i];
      event(text("{\"ph\": \"X\", \"name\": \"", shortName(problem, action), "\", \"pid\": ", r,
                 ", \"tid\": 0, \"ts\": ", start * micro, ", \"dur\": ", (finish - start) * micro,
                 "}"));
      const double before = bytes;
      for (int k = 0; k < action.size(); ++k)
        if (action[k].isForward())
          bytes += problem.stages[action[k].stage].activationBytes;
      if (bytes != before)
        counter(start);
      const double peak = bytes;
      for (int k = 0; k < action.size(); ++k) {
        const StageCost &cost = problem.stages[action[k].stage];
        bytes -= action[k].kind == TaskKind::Backward ? cost.activationBytes
                 : action[k].kind == TaskKind::BackwardInput
                     ? cost.activationBytes - cost.residualBytes()
                 : action[k].accumulates() ? cost.residualBytes()
                                           : 0;
      }
      if (bytes != peak)
        counter(finish);
      for (int k = 0; k < action.size(); ++k)
        graph.needs(action[k], [&](int need, const Message *message) {
          if (!message)
            return;
          const int from = graph.rankOf[need];
          const double sent = timing.finish[from][need - graph.firstVertex[from]];
          const char *name = message->cotangent ? "cotangent" : "activation";
          event(text("{\"ph\": \"s\", \"name\": \"", name, "\", \"cat\": \"message\", \"id\": ",
                     flow, ", \"pid\": ", from, ", \"tid\": 0, \"ts\": ", sent * micro, "}"));
          event(text("{\"ph\": \"f\", \"bp\": \"e\", \"name\": \"", name,
                     "\", \"cat\": \"message\", \"id\": ", flow++, ", \"pid\": ", r,
                     ", \"tid\": 0, \"ts\": ", start * micro, "}"));
        });
    }
  }
  out << "\n]}\n";
}

//===----------------------------------------------------------------------===//
// Summary
//===----------------------------------------------------------------------===//

void moire::scheduling::writeSummary(std::ostream &out, const Problem &problem,
                                     const Timing &timing) {
  out << text("makespan ", timing.makespan, ", bubble ", std::round(timing.bubble() * 1000) / 10,
              " %, exposed communication ", timing.exposedCommunication(), ", peak memory ",
              timing.peakBytes(), "\n");
  out << "rank  busy  idle  transfer wait  collective  peak memory  activations\n";
  for (int r = 0; r < problem.ranks; ++r) {
    const RankTiming &row = timing.ranks[r];
    out << text(r, "  ", row.busy, "  ", row.idle, "  ", row.transferWait, "  ", row.collective,
                "  ", row.peakBytes, "  ", row.peakActivations, "\n");
  }
}
