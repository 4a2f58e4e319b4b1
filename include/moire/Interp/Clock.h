//===- Clock.h - What time a rank takes ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Virtual time: a rank computes and, beside it, works off a queue of collectives, one
// after another (docs/rationale/overlap.md). What an op or a transfer takes a cost model
// says; when ranks wait for each other follows from the program. Nothing is measured, so
// that the same program on the same data takes the same time to the last digit.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_CLOCK_H
#define MOIRE_INTERP_CLOCK_H

#include "mlir/IR/Operation.h"
#include "moire/Interp/Tensor.h"
#include "llvm/ADT/DenseMap.h"
#include <algorithm>
#include <functional>
#include <optional>

namespace moire::interp {

struct Membership;

/// A cost model.
struct Costs {
  /// Seconds of an op that moves nothing between ranks. part: of the rows of experts that it
  /// has room for, those that are there.
  std::function<double(mlir::Operation *, double part)> compute;
  /// Seconds that a rank's messages of a collective take; rows: of experts, that this rank
  /// sends to others in a dist.all_to_all_rows.
  std::function<double(mlir::Operation *, int64_t rows)> transfer;
  /// Seconds in which a message of one rank to another leaves, and from then on until it
  /// arrives.
  std::function<std::pair<double, double>(int64_t bytes)> message;
  /// Seconds that an op takes at least: for each part of rows of experts again.
  double overhead = 0;
};

/// Seconds of one rank in a step.
struct RankTimes {
  double step = 0;      ///< until it has computed everything and its queue is empty
  double computing = 0; ///< of these
  double moving = 0;    ///< in collectives, once all members had come
  double messages = 0;  ///< in which it waited for messages of other stages: a pipeline's bubble
  double late = 0;      ///< of exposed(), in which another rank had not come yet
  /// In which it waited for collectives.
  double exposed() const { return std::max(0.0, step - computing - messages); }
};

/// Something that a rank did, in seconds from the step's start.
struct Span {
  enum class Track { tasks, ops, collectives, messages };
  Track track;
  std::string name; ///< of an op: its name and its node's
  double begin, end;
  double exposed = 0; ///< of a task: in which it waited for collectives
  double late = 0;    ///< of these, in which another rank had not come yet
};

/// The clock of one rank. All ranks begin a step at 0.
class Clock {
public:
  /// spans: whether what passes is noted.
  Clock(const Costs &costs, const Membership &member, bool spans = false)
      : costs(costs), member(member), noting(spans) {}

  void beginStep();
  /// What has passed since then.
  RankTimes endStep();

  /// Passes the time of an op of a function: it computes, meets the others in a collective,
  /// or waits for one. Blocks until all members have come to a collective; fails where one
  /// never will.
  mlir::LogicalResult pass(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands);

  /// An op that takes time although pass() does not know: an update of a parameter that this
  /// rank has.
  void compute(mlir::Operation *op, double part = 1);

  /// A collective: begins when the last of its members has come and everything before it in
  /// each one's queue is done, and takes as long as the member that sends most. `starts`:
  /// this rank goes on, until waitFor(starts); null: it waits.
  /// part: of the op's bytes, what this rank's program has of them.
  mlir::LogicalResult transfer(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                               mlir::Operation *starts, double part = 1);
  void waitFor(mlir::Operation *started);
  /// What the step did so far, in no order. Empty where nothing is noted.
  const std::vector<Span> &getSpans() const { return spans; }
  /// Runs a task and notes it under this name; `begin` returns once it has all that it reads.
  mlir::LogicalResult task(llvm::function_ref<mlir::LogicalResult()> begin,
                           llvm::function_ref<std::string()> name,
                           llvm::function_ref<mlir::LogicalResult()> run);

  /// When a message of stages has come that may leave from `from` on: they go one after another,
  /// beside the queue of collectives.
  double send(int64_t bytes, double from) {
    auto [leaves, arrives] = costs.message(bytes);
    left = std::max(left, from) + leaves;
    note(Span::Track::messages, "message", left - leaves, left);
    return left + arrives;
  }
  double getNow() const { return now; }
  /// When the first or second task of the last action made what it sends: at its pipe.publish.
  double publishedAt(bool second) const { return published[second].value_or(now); }
  /// A message that is needed now comes at `time`.
  void receive(double time) {
    const double before = now;
    waitUntil(time);
    times.messages += now - before;
  }

private:
  /// Rows of experts that come in parts (moire/Overlap/PartTimes.h).
  struct Parts {
    mlir::Operation *async;
    double come;          ///< seconds of all
    double computing = 0; ///< RankTimes::computing when the first part was there
    int64_t launches = 0; ///< the same
  };
  double passParts(const Parts &parts, int64_t count, double back);
  double partOf(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands);
  int64_t rowsSent(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands);
  void waitUntil(double time);
  void note(Span::Track track, llvm::StringRef name, double begin, double end) {
    if (noting && end > begin)
      spans.push_back({track, name.str(), begin, end});
  }
  void note(Span::Track track, mlir::Operation *op, double begin, double end);

  const Costs &costs;
  const Membership &member;
  double now = 0;                     ///< of what computes
  double empty = 0;                   ///< when the queue will be
  double left = 0;                    ///< when the last message has
  std::optional<double> published[2]; ///< when this action's outputs were, by task
  RankTimes times;
  const bool noting;
  std::vector<Span> spans;
  std::vector<std::pair<double, double>> lateness; ///< [from, to) of the queue, ascending
  llvm::DenseMap<mlir::Operation *, double> ready; ///< ends of what was started
  llvm::DenseMap<mlir::Value, Parts> inParts;      ///< by the exchange
  int64_t launches = 0;                            ///< ops that took time
  /// Of values with rows of experts, how many are there: fewer than there is room for.
  llvm::DenseMap<mlir::Value, int64_t> rows;
};

} // namespace moire::interp

#endif // MOIRE_INTERP_CLOCK_H
