//===- communicator.h - A communicator of NCCL that does not block --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls that wait for another rank say that they are in progress, and errors can be seen
// meanwhile: a thread looks at the communicator's state, and at what the Transport has heard
// of ranks that died or stopped. Where NCCL has failed or a rank is lost it aborts, so that
// kernels which wait for another rank end, and with them the host that waits for the stream;
// the next call throws.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_COMMUNICATOR_H
#define MOIRE_RT_CUDA_COMMUNICATOR_H

#include "moire/rt/context.h"
#include "moire/rt/cuda/check.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

struct ncclComm;

namespace moire::rt {

class Transport;

cudaStream_t streamOf(Context &ctx); // of moire/rt/cuda/launch.h, which is nvcc's

class Communicator {
public:
  /// Over all ranks, by all of them at the same time.
  explicit Communicator(Context &ctx);
  ~Communicator();

  struct Operation {
    bool send;
    int peer;
    void *data;
    int64_t bytes; ///< 0: both ends skip it
  };
  /// The most that go together: NCCL wants fewer than 256 a group.
  static constexpr size_t kMost = 254;
  /// What is sent and received at the same time, at most kMost; what the stream is given
  /// next finds it moved. Throws RunError where NCCL has failed, LostError for a lost rank.
  void exchange(const std::string &what, const std::vector<Operation> &operations,
                cudaStream_t stream);
  /// Throws where something that was started has failed or a rank is lost.
  void check();

private:
  void abort();
  void fail(int result);
  void checkLocked() const;
  void require(int result);
  void settle();
  void lookForLost();
  void look();
  void watch();

  Transport &transport;
  const int rank, size;
  std::mutex lock; ///< of all below, and of calls to NCCL
  std::condition_variable changed;
  ncclComm *comm = nullptr;
  std::string operation = "its start", failure;
  bool lost = false; ///< failure is of another rank
  bool stop = false;
  std::thread watcher;
};

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_COMMUNICATOR_H
