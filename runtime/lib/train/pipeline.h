//===- pipeline.h - One rank's part of a pipeline's schedule --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Two threads: the one that computes runs the tasks in their order, the queue's does the
// messages in theirs. Where these go on behind the host (stage_messages.h) who computes
// starts them, each as soon as its task has ended, and there is no other thread.
//
//   a message out     is sent when its task is done; that slot's next forward waits for it
//   a message in      goes to a free inbox as soon as it comes; its task waits for it
//   between stages    of this rank: the task that makes it copies it to an inbox itself
//
// All messages of a round have moved before the next one begins, so that as many inboxes
// are enough as one round needs.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TRAIN_PIPELINE_H
#define MOIRE_RT_TRAIN_PIPELINE_H

#include "comm/queue.h"
#include "moire/rt/comm.h"
#include "moire/rt/pipeline.h"
#include "train/stage_messages.h"
#include "train/trace.h"

#include <algorithm>
#include <functional>

namespace moire::rt {

/// Whether the tasks of the program's stages talk to no other ranks but by messages: without ep,
/// tp, and routers or divided gradients over dp.
bool tasksAreAlone(const Program &program);

class Pipeline {
public:
  /// ctx: of programOfRank(). link: to the other ranks, used by the queue's thread alone;
  /// null where the pipeline has one rank. patience: see CommQueue. trace: hears of tasks and
  /// messages, if any. Throws RunError where the program's tables contradict each other.
  Pipeline(Context &ctx, Transport *link, double patience, Trace *trace = nullptr);
  ~Pipeline();

  /// Before the first step, by all ranks at the same time, once their devices are connected.
  /// graphNodes: see runWholeRounds().
  void connect(int64_t graphNodes = -1);

  /// Sets the inputs of a task's micro-batch.
  using SetInputs = std::function<void(TaskState &)>;
  /// Forward and backward of all micro-batches of a step, so many times the round of this
  /// index, the sums of gradients and losses, and the update.
  void runStep(int64_t round, int64_t rounds, const SetInputs &setInputs);

  /// The forwards of all micro-batches alone, in their order of that round, and the sum of losses.
  void runForward(int64_t round, int64_t rounds, const SetInputs &setInputs);

  /// After an error, by the thread that computes: tells the others and ends the queue's
  /// thread.
  void abandon(const std::string &why) noexcept;
  /// What the queue's thread ended with; null: nothing.
  std::exception_ptr failure();
  /// Seconds for which tasks waited for messages so far.
  double waited() const { return waitedSeconds; }

  /// The most that there were at once in the last step: micro-batches that this rank, or one of its
  /// stages, kept something of, and messages that lay in inboxes.
  int64_t mostInFlight() const { return inFlight.most; }
  int64_t mostInFlight(int stage) const { return inStage[stage].most; }
  int64_t mostWaiting() const { return waiting.most; }

private:
  using Kept = std::pair<const KeptInfo *, int64_t>; ///< tensors and their number
  /// What the tables say of a task's surroundings; -1: nothing.
  struct Surroundings {
    int message = -1;       ///< that brings its inputs
    int consumer = -1;      ///< the task of this rank that takes its outputs
    std::vector<int> sends; ///< messages that it makes
  };

  struct Count {
    int64_t now = 0, most = 0;
    void change(int64_t by) { most = std::max(most, now += by); }
    void restart() { most = now; }
  };

  void checkTables();
  /// What runs from now on is the round of this index, or its forwards alone. Between steps alone.
  void chooseRound(int64_t number, bool forwardTasks);
  void keepForwards(); ///< of `own`
  void runRounds(int64_t which, bool forwardTasks, int64_t rounds, const SetInputs &setInputs);
  /// The most of a step, of everything that is counted.
  void restartCounts();
  /// The task of this rank that makes or takes stage's cotangents or activations; -1: none.
  int find(bool backward, int path, int stage, int microBatch) const;
  void runRound(int64_t round, const SetInputs &setInputs);
  /// The task, or the pair that begins with it. Returns the next one.
  int runAction(int task, int64_t round, const SetInputs &setInputs);
  /// What it takes goes to its slot.
  void begin(int task, TaskState &state, int64_t round, const SetInputs &setInputs);
  /// What it sends to other ranks is complete: once a task.
  void publish(int task);
  /// What it made for this rank goes on its way.
  void end(int task);
  void wait(int64_t job, const char *what);
  /// The action of tasks [first, end) took from `begin` until now.
  void traceAction(int first, int end, int64_t round, double begin);
  void putJobs();
  /// Of a queue without a thread: all messages up to the next one that has yet to be made.
  void startMessages();
  void doMessage(int message);

  /// What the task takes when it starts, and what it gives when it is done.
  Kept inputsOf(const TaskInfo &task) const;
  Kept outputsOf(const TaskInfo &task) const;
  char *slotOf(const TaskInfo &task) const;
  char *inbox(int number) const {
    return ctx.at<char>(self.inboxOffset + number * self.inboxBytes);
  }
  /// Whether the queue may take an inbox for this message now. Under the lock.
  bool mayReceive(int message) const;
  int takeInbox(const std::string &what);
  int takeFreeInbox(const std::string &what); ///< under the lock
  void countHandedOver(int by);
  void freeInbox(int number);
  /// E.g. "activation of stage 2, micro-batch 3".
  std::string name(bool cotangent, int path, int stage, int microBatch) const;

  Context &ctx;
  const PipelineInfo &info;
  const Group pp; ///< the ranks of the pipeline by coordinate, and this one's
  const PipelineRankInfo &self;
  Transport *link;
  std::unique_ptr<StageMessages> messages; ///< connect()
  Trace *trace;                            ///< null: none
  int64_t graphNodes = -1;

  // Of the round that was chosen.
  int64_t chosen = -1;        ///< index of PipelineInfo::rounds
  bool forwardsAlone = false; ///< own is what follows
  std::vector<TaskInfo> forwards;
  std::vector<MessageInfo> activations;
  RankRoundInfo own = {};
  std::vector<Surroundings> around; ///< by task
  std::vector<int> taskOf;          ///< by message: that makes or takes it
  std::vector<int64_t> firstOf;     ///< by path: the number of its first micro-batch in a round
  std::vector<int64_t> slotOffset;  ///< by stage, in the arena; -1: not this rank's

  std::vector<int64_t> jobs; ///< by message of the round: its number in the queue
  int64_t startedMessages = 0; ///< of the round, where there is no thread
  /// By task: the inbox with its inputs. Set before the job or the task that fills it is done.
  std::vector<int> inboxOf;
  std::vector<std::vector<int64_t>> leaving; ///< by stage and slot: the last job that sends from it
  double waitedSeconds = 0;
  Count inFlight;
  std::vector<Count> inStage; ///< by stage

  std::mutex lock; ///< of what follows
  std::condition_variable changed;
  std::vector<bool> published; ///< by task of the round
  bool stopping = false;
  std::vector<int> freeInboxes;
  /// Inboxes with what one task of this rank made for another, now and at most in the round.
  int64_t handedOver = 0, mostHandedOver = 0;
  int64_t awaited = -1; ///< the last message that tasks waited for
  Count waiting;
  std::exception_ptr error;

  CommQueue queue; ///< last: its thread uses all of the above
};

} // namespace moire::rt

#endif // MOIRE_RT_TRAIN_PIPELINE_H
