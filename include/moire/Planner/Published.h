//===- Published.h - Published figures and what the planner gives -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PLANNER_PUBLISHED_H
#define MOIRE_PLANNER_PUBLISHED_H

#include "moire/Planner/Predict.h"

namespace moire::planner {

/// One row of a published table.
struct PublishedRow {
  std::string table; ///< whose
  std::string name;
  cost::ModelShape shape;
  std::string cluster; ///< a file of share/moire/clusters
  Plan plan;
  /// Sequences of a step, where micro-batch, schedule and recompute are not published: the
  /// planner's choice of 1f1b or interleaved on the published mesh is taken. 0: all is.
  long batchToPlan = 0;
  enum Unit {
    StepSeconds,
    TokensPerDevice, ///< per second
    /// TFLOP/s of a device with attention's masked half counted.
    FullTeraflops,
    /// The same with one more forward of the layers, for full recompute.
    FullTeraflopsRecomputed
  } unit = StepSeconds;
  double published = 0;
  /// The constants of the cluster file were fitted to this row.
  bool fitted = false;
  /// What the source leaves open and how it was filled.
  std::string note;

  double predicted = 0;
  Prediction prediction;
  /// Of speed: above 0 the planner is faster than what was published.
  double error() const;
};

/// All rows with their predictions. `share` is the folder with clusters and models. Refuses what
/// the files' readers and predict refuse.
Refusal publishedRows(const std::string &share, std::vector<PublishedRow> &rows);

/// The tables of docs/planner.md: a table of rows and their errors for each source, in Markdown.
Refusal writePublished(std::ostream &out, const std::string &share);

} // namespace moire::planner

#endif // MOIRE_PLANNER_PUBLISHED_H
