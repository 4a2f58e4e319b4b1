//===- Schedule.h - The order in which each rank works ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_SCHEDULE_H
#define MOIRE_SCHEDULING_SCHEDULE_H

#include "moire/Scheduling/Problem.h"

namespace moire::scheduling {

enum class TaskKind : uint8_t {
  Forward,       ///< F
  Backward,      ///< B = b and W in one
  BackwardInput, ///< b
  BackwardWeight ///< W
};

/// One piece of work: a stage's F, B, b or W of a micro-batch, counted within its path.
struct Task {
  TaskKind kind = TaskKind::Forward;
  int path = 0;
  int stage = 0;
  int microBatch = 0;

  bool isForward() const { return kind == TaskKind::Forward; }
  /// Whether it makes the cotangent of the stage's input.
  bool isBackward() const { return kind == TaskKind::Backward || kind == TaskKind::BackwardInput; }
  /// Whether it adds to the gradients of the weights.
  bool accumulates() const {
    return kind == TaskKind::Backward || kind == TaskKind::BackwardWeight;
  }
  bool operator==(const Task &other) const {
    return kind == other.kind && path == other.path && stage == other.stage &&
           microBatch == other.microBatch;
  }
};

/// What a rank does at a time: a task, or two that overlap (FB: `first` is the forward).
struct Action {
  Task first;
  std::optional<Task> second;

  Action() = default;
  Action(Task first) : first(first) {}
  Action(Task first, Task second) : first(first), second(second) {}
  int size() const { return second ? 2 : 1; }
  const Task &operator[](int i) const { return i == 0 ? first : *second; }
  bool operator==(const Action &other) const {
    return first == other.first && second == other.second;
  }
};

/// A tensor that crosses ranks: the activation that `stage` makes for stage + 1, or the
/// cotangent that it makes for stage - 1.
struct Message {
  bool cotangent = false;
  int path = 0;
  int stage = 0;
  int microBatch = 0;
  bool operator==(const Message &other) const {
    return cotangent == other.cotangent && path == other.path && stage == other.stage &&
           microBatch == other.microBatch;
  }
};

struct Schedule {
  /// [rank] → actions in order.
  std::vector<std::vector<Action>> ranks;
  /// [rank] → its sends and receives in the order of its one communication queue; a message
  /// moves when it is first in both queues. Empty: not yet chosen (see orderMessages).
  std::vector<std::vector<Message>> messages;
};

/// Time of one task alone.
double taskCost(const Problem &problem, const Task &task);

/// Time of an action. For two tasks that overlap it is the sum less what overlapping saves: the
/// mean of what it saves in either task's stage, there taken from the costs of pairs or, where
/// these are 0, as the longer of both computations and both collectives at contended speed.
double actionCost(const Problem &problem, const Action &action);

/// From an action's start until what its task `i` sends to another rank is made: the action's
/// end, but where ops are ordered for communication (Problem::ordersOps) and only W is left over:
/// the time of b in a B, and of a task beside a W.
double outputTime(const Problem &problem, const Action &action, int i);

/// The part of an action during which its rank only communicates.
double exposedCollective(const Problem &problem, const Action &action);

/// The schedule of that name, its messages ordered. Refuses what check refuses, and a memory
/// limit that this schedule does not keep. `Auto` is for search (Search.h).
Refusal generate(const Problem &problem, Kind kind, Schedule &schedule);

/// Chooses the order of messages: one total order of all, by the time at which they are sent when
/// nothing waits for a queue. Every queue is a part of it, so rendezvous cannot deadlock.
/// The schedule's dependences must not be cyclic; false where they are.
bool orderMessages(const Problem &problem, Schedule &schedule);

/// Whether `schedule` does all of `problem`'s work: every task once and on its rank, before it
/// what it needs, weight gradients added in the order of micro-batches, no cycle of waiting
/// ranks, no rendezvous deadlock in the order of messages (where it is given), no more memory
/// at any moment than the limit. The first thing wrong in one sentence.
Refusal verify(const Problem &problem, const Schedule &schedule);

/// Which action, task of a pair or message of a schedule is meant; -1 where none is.
struct Position {
  int rank = -1;
  int index = -1; ///< of `ranks[rank]`, or of `messages[rank]` where `message` is set
  int task = -1;  ///< of an overlapped pair
  bool message = false;
};

/// What verify refuses, with the place and, for what cannot be seen there, other places.
struct Fault {
  std::string sentence;
  Position position;
  std::vector<std::pair<Position, std::string>> notes;
};
std::optional<Fault> findFault(const Problem &problem, const Schedule &schedule);

/// Bytes and number of activations that a rank holds at most. An activation lives from its F to
/// its B, or to its W where the backward was b; an overlapped pair allocates before it frees.
struct Peak {
  double bytes = 0;
  int activations = 0;
  int action = 0; ///< where the peak is
};
Peak peakMemory(const Problem &problem, const std::vector<Action> &actions);

/// `F`, `B`, `b` or `W`.
char letter(TaskKind kind);
/// `B of micro-batch 3 at stage 1`, with the path where there are several.
std::string describe(const Problem &problem, const Task &task);
/// `F0.3`: kind, direction or chunk, micro-batch; a pair is `F0.3+B1.1`.
std::string shortName(const Problem &problem, const Action &action);
/// The direction of DualPipe, else the chunk on its rank: how published timetables name a task.
int laneOf(const Problem &problem, const Task &task);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_SCHEDULE_H
