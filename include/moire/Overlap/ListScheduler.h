//===- ListScheduler.h - An order of work on two resources ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Work of one rank on two resources: a device that computes, and a network on which the
// rank's transfers go one after another beside it. One thread goes through all tasks in
// an order: it computes what is to compute, starts transfers without waiting for them,
// and waits for a transfer where a task needs what it brings. To choose is the order.
// Plain data, no IR inside: tasks may be the ops of a function or of several functions that
// are to run beside one another.
//
// Times are in seconds, memory in bytes.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_LISTSCHEDULER_H
#define MOIRE_OVERLAP_LISTSCHEDULER_H

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace moire::overlap {

enum class Resource { compute, network };

struct Task {
  Resource resource = Resource::compute;
  double seconds = 0;
  /// Tasks that end before this one begins.
  std::vector<int> after;
  /// Indices of buffers that it reads or writes. A buffer lives from the first of its tasks
  /// to the last; a transfer uses its own until somebody has waited for it.
  std::vector<int> buffers;
  /// Of two jobs that stand one after the other in the problem's order, though neither needs
  /// the other's results: which one.
  int job = 0;
  /// Of a transfer: seconds more in which the network moves what other tasks of its chain hide.
  double beside = 0;
};

/// Tasks stand in an order that is possible: `after` has smaller indices only.
struct Problem {
  std::vector<Task> tasks;
  std::vector<int64_t> bufferBytes;
  /// By job: the tasks that make what other ranks wait for; may be shorter than there are jobs.
  std::vector<std::vector<int>> outputs;
  /// What live buffers may take together.
  int64_t memoryLimit = std::numeric_limits<int64_t>::max();
};

/// What an order gives.
struct Timetable {
  std::vector<int> order;         ///< the thread's; a transfer stands where it is started
  std::vector<double> begin, end; ///< of each task
  double seconds = 0;             ///< until all is done
  double computing = 0, moving = 0; ///< sums over the tasks of each resource
  /// In which the thread waits for transfers: `seconds` less `computing`.
  double exposed = 0;
  int64_t peakBytes = 0;
  /// When the outputs of a job are there, from the start; 0: it has none.
  double outputs[2] = {0, 0};
};

/// An empty string, or what is wrong with the problem, in a sentence.
std::string check(const Problem &problem);
/// The same for a timetable: every task once, after those that it comes after, no two at
/// once on one resource.
std::string verify(const Problem &problem, const Timetable &timetable);

/// Goes through the tasks in this order, which must be possible.
Timetable simulate(const Problem &problem, std::vector<int> order);

/// The problem's own order, but that each transfer is started where its first reader is: as
/// if the thread waited for all of them at once. It takes the least memory of these.
std::vector<int> latestOrder(const Problem &problem);

/// List scheduling (Graham, 1969): whenever the thread is free, it takes the task with the
/// smallest key among those whose predecessors are done and whose buffers the memory's limit
/// allows; it waits only where there is none. A transfer has the largest key of its
/// predecessors instead of its own.
Timetable listSchedule(const Problem &problem, std::vector<double> keys);

/// The fastest of several orders that stay within the memory's limit; latestOrder(), where none
/// does or none is faster. Besides the problem's own they are list schedules by the longest
/// path to the end (Hu, 1961), and by times in the problem's own order, where what a
/// transfer depends on comes earlier by a multiple of the transfer's length: so what it does
/// not depend on is left over and is done while it is under way. Of two jobs these times also
/// run side by side, so that both end together, the second one begun earlier or later. Where there
/// are outputs, of orders that are as fast to a thousandth the one is taken whose outputs are there
/// first; what no output depends on then also comes last, and the second job after the first.
Timetable schedule(const Problem &problem);

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_LISTSCHEDULER_H
