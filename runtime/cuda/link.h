//===- link.h - Moving device memory between ranks ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// All collectives of device memory (collectives.cu, experts.cu) are written once over
// one exchange of messages, as comm.h's are for the host: so sums add in ascending
// order of rank whatever moves the bytes. Two implementations:
//
//   linkThroughHost  copies to the host and lets the ranks' Transport move it: several
//                    ranks on one GPU, GPUs without NCCL, the execution model
//   linkByNccl       NCCL's sends and receives, one GPU a rank
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_LINK_H
#define MOIRE_RT_CUDA_LINK_H

#include "moire/rt/context.h"
#include "moire/rt/memory.h"
#include "moire/rt/program.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

class StageMessages; // train/stage_messages.h
struct StageCounts;
class Transport;

/// One piece of device memory that goes to a rank or comes from it.
struct DeviceMessage {
  int peer;   ///< a rank of the program, never this one
  void *data; ///< only read where it is sent
  int64_t bytes;
};

/// Exchanges of experts' rows whose messages have one length (exchangeRoutingInSlots()).
struct ExpertSlots {
  static constexpr int kMost = 1024;
  struct Room {
    int64_t local; ///< experts of a member
    int64_t slots; ///< that a member's rows have at each other one
  };
  std::map<const int32_t *, Room> of; ///< by the exchange block
  /// What checkSlots() asks about, in the order of the micro-step.
  struct Asked {
    std::string what;
    int group;
    int64_t slots;
  };
  std::vector<Asked> asked;
  /// [kMost] by number in `asked`, those past the last one at the last one's: the most rows
  /// of this rank that went to one member and found no room, else 0.
  DeviceBlock most;
};

class DeviceLink {
public:
  virtual ~DeviceLink() = default;
  /// Moves all messages, after what the rank's stream was given before; what it is
  /// given next finds them moved. At most one message per peer and direction; what one
  /// rank sends as its message number i the other must receive as its number i. Both
  /// ends skip a message of no bytes. what: as Transport::exchange has it.
  virtual void exchange(Context &ctx, const char *what, const std::vector<DeviceMessage> &sends,
                        const std::vector<DeviceMessage> &receives) = 0;
  /// Throws where a collective that was started has failed. For callers that have
  /// waited for the stream.
  virtual void check() {}
  /// Whether an exchange returns before it is done, so that its time is not the host's.
  virtual bool runsBehind() const { return false; }
  /// The same way for messages between stages; link: as stageMessages() has it.
  virtual std::unique_ptr<StageMessages> stages(Context &ctx, Transport *link,
                                                const StageCounts &counts) = 0;
  /// E.g. "through the host".
  virtual std::string describe() const = 0;

  /// How many rows go where: the host's copy of each exchange block of the arena,
  /// written with it by exchangeRouting().
  std::map<const int32_t *, std::vector<int32_t>> exchanges;
  ExpertSlots slots;
};

/// Where the caller is no job of startBeside(): has what the stream is given next follow all
/// jobs, so that a rank's exchanges have one order. To be called by each exchange. Of the
/// target.
void followJobs(Context &ctx);

std::shared_ptr<DeviceLink> linkThroughHost();
// linkByNccl() is in program.h.

/// Which GPU the context's is, anywhere: at most 16 bytes. Of the target.
std::string gpuIdentity(Context &ctx);

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_LINK_H
