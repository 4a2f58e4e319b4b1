//===- Report.h - Outcomes as text and JSON --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_REPORT_H
#define MOIRE_TOOLS_PLAN_REPORT_H

#include "Schedules.h"
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>

namespace moire::plan {

/// Rows of cells with a head. Columns are as wide as they need to be; the first and the last
/// `words` of them hold text, the rest numbers that are flush right.
class Table {
public:
  explicit Table(std::vector<std::string> head, size_t words = 0) : words(words) {
    rows.push_back(std::move(head));
  }
  void add(std::vector<std::string> row) { rows.push_back(std::move(row)); }
  /// A sentence below the first cell, across the rest of the row.
  void addNote(const std::string &first, const std::string &sentence);
  void write(std::ostream &out) const;

private:
  size_t words;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::pair<size_t, std::string>> notes; ///< of row
};

struct ReportOptions {
  bool timetable = false; ///< also where it is wider than `width`
  int width = 160;
};

/// One schedule: its step, bubble and memory, a row for each rank and the timetable.
void writeReport(std::ostream &out, const Outcome &outcome, const Units &units, double optimizer,
                 const ReportOptions &options);

/// The timetable where every name fits into its columns, else the sentence that says what to do.
void writeFittingTimetable(std::ostream &out, const Outcome &outcome, const ReportOptions &options);

/// Several schedules, a row each; those that are refused with their reason.
void writeComparison(std::ostream &out, const std::vector<Outcome> &outcomes, const Units &units,
                     double optimizer);

/// What writeReport writes, under the keys of docs/moire-plan.md.
nlohmann::ordered_json scheduleJson(const Outcome &outcome, const Units &units, double optimizer);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_REPORT_H
