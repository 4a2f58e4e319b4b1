//===- stage_messages.h - Moving what stages give each other --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Slots and inboxes lie in the memory in which kernels run; each target moves what lies
// there. Two ways for messages to the other ranks:
//
//   done by the queue's thread      a message is done when send() or receive() returns
//   started by who computes         messages go on behind it, in the order in which they are
//                                   started; followMessage() orders the rank's stream behind
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TRAIN_STAGE_MESSAGES_H
#define MOIRE_RT_TRAIN_STAGE_MESSAGES_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"

#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

/// Of one rank; a message, a task and an inbox are numbers below these.
struct StageCounts {
  int64_t tasks = 0, messages = 0, inboxes = 0;
};

class StageMessages {
public:
  virtual ~StageMessages() = default;
  /// Whether messages are started by who computes, and go on behind it.
  virtual bool runsBehind() const { return false; }

  //===--- by who computes ---===//

  /// Copies the bytes of pieces, in order, into other ones of as many bytes: after what the
  /// rank's stream was given before.
  virtual void copy(const std::vector<Piece> &from, const std::vector<Piece> &to) = 0;
  /// All that the task does has been given to the rank's stream.
  virtual void endTask(int task) = 0;
  /// So has all that reads the inbox.
  virtual void freeInbox(int inbox) = 0;
  /// From here on the rank's stream is captured, and messages with it. Only where runsBehind().
  virtual void beginCapture() {}
  /// Throws where a message has failed or a rank is lost. Only where runsBehind().
  virtual void check() {}
  /// What the rank's stream is given next finds this message, which was started, and all
  /// started before it done. Only where runsBehind().
  virtual void followMessage(int message) = 0;

  //===--- by the queue's thread, or where runsBehind() by who computes ---===//

  /// peer: a rank of the program. task: that made what is sent, and has ended. The receiver
  /// has as many pieces of the same sizes.
  virtual void send(int message, const std::string &what, int peer, const std::vector<Piece> &from,
                    int task) = 0;
  virtual void receive(int message, const std::string &what, int peer, const std::vector<Piece> &to,
                       int inbox) = 0;
};

/// Of the target. link: to the other ranks; null where the pipeline has one. By all ranks at
/// the same time, once their devices are connected.
std::unique_ptr<StageMessages> stageMessages(Context &ctx, Transport *link,
                                             const StageCounts &counts);
/// Adds values[k][0, n) in order of k; to may be one of them. Of the target.
void addCopies(Context &ctx, const std::vector<const float *> &values, int64_t n, float *to);

} // namespace moire::rt

#endif // MOIRE_RT_TRAIN_STAGE_MESSAGES_H
