//===- Gallery.cpp - All schedules on one page ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Gallery.h"
#include "moire/Scheduling/Render.h"
#include "moire/Scheduling/Search.h"
#include <cstdio>
#include <ostream>

using namespace moire::scheduling;

namespace {

struct Entry {
  const char *kind, *text;
};
const Entry kEntries[] = {
    {"gpipe",
     "All forwards, then all backwards: every micro-batch's activations are held at once."},
    {"1f1b", "One forward, one backward: GPipe's bubble with at most one activation a rank."},
    {"interleaved:2",
     "Two stages a rank in cycles: half of 1F1B's bubble for more activations and transfers."},
    {"zb-h1", "The backward in two, so that the cotangent leaves before the weights are done."},
    {"zb-h2",
     "ZB-H1 with twice the activations: no rank waits between its first action and its last."},
    {"zb-v", "Two stages a rank, laid down and up: ranks wait only for the first micro-batch, with "
             "the memory of 1F1B."},
    {"v-half",
     "The same with shorter waits between stages: half of the memory of 1F1B, half of its bubble."},
    {"dualpipe", "Two pipelines against each other; the forward of one hides the transfers of the "
                 "other's backward."},
    {"dualpipev", "DualPipe folded in the middle: one copy of the parameters."},
    {"auto",
     "Searched for: the shortest that was found in the memory of DualPipe, here with at most "
     "two stages a rank."}};

struct Run {
  Problem problem;
  Schedule schedule;
  Timing timing;
};

/// A pipeline of `ranks` ranks, whose share of the model costs `share`. `auto` gets the memory of
/// DualPipe and cuts a rank's share into `pieces` at most.
bool runKind(const char *name, int ranks, int microBatches, const StageCost &share, Run &run,
             int pieces = 4) {
  Kind kind;
  Workload work;
  work.ranks = ranks;
  work.microBatches = microBatches;
  work.parts.assign(ranks, share);
  if (parseKind(name, kind))
    return false;
  if (kind.name == Kind::Auto) {
    work.pieces = pieces;
    work.memoryLimit = 2 * share.parameterBytes + (ranks + 1) * share.activationBytes;
    SearchOptions options;
    options.budget = 10000L * ranks * microBatches;
    SearchResult result;
    if (searchSchedule(work, options, result))
      return false;
    run = {result.problem, result.schedule, result.timing};
    return true;
  }
  if (place(work, kind, run.problem) || generate(run.problem, kind, run.schedule))
    return false;
  run.timing = simulate(run.problem, run.schedule);
  return true;
}

} // namespace

void moire::scheduling::writeGallery(std::ostream &out) {
  StageCost unit;
  unit.forwardWithBackward = 3;
  unit.activationBytes = 1;
  unit.parameterBytes = 0;
  StageCost measured = unit; // milliseconds
  measured.forward = 57.6, measured.backward = 125.9;
  measured.backwardInput = 84.1, measured.backwardWeight = 41.7;
  measured.forwardWithBackward = 139;
  measured.parameterBytes = 1;

  out << "# Schedules\n\n"
         "Made by `MOIRE_UPDATE=1 build/bin/scheduling-tests --gtest_filter='Gallery.*'`; a test "
         "says whether it is\n"
         "current. All schedules run on the same ranks with the same share of the model on "
         "each.\n\n"
         "* *bubble* is the part of the step in which the ranks are idle, for 8 ranks and 32 "
         "micro-batches with\n"
         "  F = b = W = 1, B = 2 and an overlapped pair of 3 units;\n"
         "* *activations* is what a rank holds at most, in activations of its whole share of the "
         "model;\n"
         "* *DeepSeek-V3* is the time of its step in seconds, on 16 ranks with 120 micro-batches, "
         "with the costs\n"
         "  that its published profile implies (F 57.6 ms, B 125.9, b 84.1, W 41.7, pair 139.0) "
         "and 0.29 s of optimizer.\n"
         "  Pairs exist only in dualpipe, dualpipev and auto;\n"
         "* `auto` is what a search finds in dualpipe's memory "
         "([what bounds it](claims.md#how-much-better-it-could-be)).\n\n"
         "| schedule | bubble | activations | parameters | DeepSeek-V3 |\n|---|---|---|---|---|\n";
  char line[200];
  for (const Entry &entry : kEntries) {
    Run small, large;
    if (!runKind(entry.kind, 8, 32, unit, small) || !runKind(entry.kind, 16, 120, measured, large))
      large.timing.makespan = 0;
    double held = 0;
    for (const RankTiming &rank : small.timing.ranks)
      held = held > rank.peakBytes ? held : rank.peakBytes;
    char step[32] = "120 is no multiple of 16";
    if (large.timing.makespan > 0)
      std::snprintf(step, sizeof(step), "%.2f", large.timing.makespan / 1000 + 0.29);
    std::snprintf(line, sizeof(line), "| `%s` | %.1f %% | %.4g | %s | %s |\n", entry.kind,
                  100 * small.timing.bubble(), held, small.problem.numPaths() > 1 ? "2x" : "1x",
                  step);
    out << line;
  }
  out << "\nIn the timetables a row is a rank: `3` is the forward of micro-batch 3, `<3>` its "
         "backward, `[3]` its b,\n"
         "`{3}` its W, `4+b` a forward with a backward that overlap; letters are the second stage "
         "of a rank, or\n"
         "the direction that enters at the other end; dots go on, blanks are idle.\n";
  for (const Entry &entry : kEntries) {
    Run run;
    if (!runKind(entry.kind, 4, 8, unit, run, 2))
      continue;
    TextOptions options;
    // Four columns are the forward of one stage.
    options.column = run.problem.numStages() > 4 ? 1.0 / 8 : 1.0 / 4;
    options.width = 400;
    out << "\n## " << entry.kind << "\n\n" << entry.text << "\n\n```\n";
    writeTimetable(out, run.problem, run.schedule, run.timing, options);
    out << "```\n";
  }
}
