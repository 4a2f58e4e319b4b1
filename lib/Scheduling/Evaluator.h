//===- Evaluator.h - The makespan of a schedule, many times -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_EVALUATOR_H
#define MOIRE_LIB_SCHEDULING_EVALUATOR_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// What runEarliest computes (Graph.h), for a search that changes one row at a time: nothing is
/// allocated, costs are looked up, and where DualPipe's two directions mirror each other half of
/// the ranks say it all.
class Evaluator {
public:
  explicit Evaluator(const Problem &problem);

  /// Whether rank P-1-r does what rank r does, with the directions exchanged. Such a schedule is
  /// evaluated, and has to be changed, in the rows below P/2 alone.
  bool isMirrored(const std::vector<std::vector<Action>> &rows) const;
  void setMirrored(bool value) { mirrored = value; }
  /// Ranks whose rows count.
  int rows() const { return mirrored ? problem.ranks / 2 : problem.ranks; }
  std::vector<Action> mirrorOf(const std::vector<Action> &row) const;

  void setRow(int rank, const std::vector<Action> &row);

  struct Times {
    std::vector<std::vector<double>> start, finish; ///< [row][action]
    double makespan = 0;
    double meanEnd = 0, meanStart = 0; ///< of the rows, of all actions
  };
  /// False where ranks wait for each other; `times` is then of no use.
  bool run(Times &times);

  struct Place {
    int row = -1, action = -1;
  };
  /// Back from the last end along what each start waited for, `times` being of the last run.
  void criticalPath(const Times &times, std::vector<Place> &path) const;

private:
  /// A task as the evaluation sees it: cells of what it makes and of what it needs.
  struct Step {
    int makesForward = -1, makesBackward = -1;
    int need[2] = {-1, -1}; ///< cells: c of a forward, cells + c of a backward
    double delay[2] = {0, 0};
  };
  struct Compact {
    double cost = 0;
    int count = 1;
    Step steps[2];
  };
  const Problem &problem;
  bool symmetric = false, mirrored = false;
  std::vector<int> base; ///< [path] → its first cell
  int cells = 0;
  std::vector<double> pairCost; ///< [stage, kind, stage, kind], negative: not yet known
  std::vector<std::vector<Compact>> compact;
  std::vector<double> done; ///< [2 * cells]: when it is made; negative: not yet
  std::vector<Place> maker; ///< [2 * cells], of the last run
  std::vector<int> waiter;  ///< [2 * cells]: the row that stopped for it, or -1
  std::vector<int> next, work;

  int cellOf(int path, int stage, int microBatch) const {
    return base[mirrored ? 0 : path] + stage * problem.microBatches[path] + microBatch;
  }
  double costOf(const Action &action);
  Step stepOf(const Task &task) const;
};

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_EVALUATOR_H
