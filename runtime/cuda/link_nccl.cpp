//===- link_nccl.cpp - Device memory to other ranks by NCCL ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One communicator over all ranks, of which sends and receives alone are used: a group
// is who exchanges messages, so that it needs no communicator of its own, and a sum adds
// in our order (collectives.cu). The communicator does not block: a call that waits for
// another rank says that it is in progress, and errors can be seen meanwhile. Exchanges of
// jobs and of the rank's other stream use it by turns, each behind the one before.
//
// A thread looks at the communicator's state. Where NCCL has failed it aborts, so that
// kernels which wait for another rank end, and with them the host that waits for the
// stream; the next exchange, or the end of the step, throws. Ranks that die are the
// Transport's to notice.
//
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/nccl.h"
#elif defined(MOIRE_NCCL)
#include "moire/rt/cuda/check.h"
#include <nccl.h>
#endif

#if defined(MOIRE_CUDA_MODEL) || defined(MOIRE_NCCL)

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace moire::rt {

cudaStream_t streamOf(Context &ctx); // of moire/rt/cuda/launch.h, which is nvcc's

namespace {
/// Peers of one NCCL group: a send and a receive each, fewer than 256 operations.
constexpr size_t kPeers = 127;
constexpr auto kWatchEvery = std::chrono::milliseconds(50);

class ByNccl final : public DeviceLink {
public:
  explicit ByNccl(Context &ctx) : rank(ctx.comm->rank()), size(ctx.comm->size()) {
    std::unique_lock<std::mutex> hold(lock);
    ncclUniqueId id = {};
    if (rank == 0)
      require(ncclGetUniqueId(&id));
    ctx.comm->broadcast(ctx.comm->groupOver("pp,dp,ep,tp"), "NCCL's unique id", &id, sizeof id);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    require(ncclCommInitRankConfig(&comm, size, id, rank, &config));
    settle();
    watcher = std::thread([this] { watch(); });
  }
  ~ByNccl() override {
    {
      std::lock_guard<std::mutex> hold(lock);
      stop = true;
      abort(); // all ranks have ended their last step, or one has failed
    }
    changed.notify_all();
    if (watcher.joinable())
      watcher.join();
  }

  void exchange(Context &ctx, const char *what, const std::vector<DeviceMessage> &sends,
                const std::vector<DeviceMessage> &receives) override {
    followJobs(ctx);
    std::unique_lock<std::mutex> hold(lock);
    operation = what;
    const size_t count = std::max(sends.size(), receives.size());
    for (size_t first = 0; first < count; first += kPeers) {
      checkLocked();
      ncclResult_t result = ncclGroupStart();
      for (size_t i = first; i < std::min(count, first + kPeers); ++i) {
        if (i < sends.size() && sends[i].bytes > 0)
          note(result, ncclSend(sends[i].data, size_t(sends[i].bytes), ncclInt8, sends[i].peer,
                                comm, streamOf(ctx)));
        if (i < receives.size() && receives[i].bytes > 0)
          note(result, ncclRecv(receives[i].data, size_t(receives[i].bytes), ncclInt8,
                                receives[i].peer, comm, streamOf(ctx)));
      }
      note(result, ncclGroupEnd());
      require(result);
      settle();
    }
  }
  void check() override {
    std::lock_guard<std::mutex> hold(lock);
    checkLocked();
  }
  bool runsBehind() const override { return true; }
  std::string describe() const override { return "GPU memory by NCCL"; }

private:
  static bool isError(ncclResult_t r) { return r != ncclSuccess && r != ncclInProgress; }
  /// Keeps the first error: a group that has begun must be ended.
  static void note(ncclResult_t &first, ncclResult_t r) {
    if (!isError(first))
      first = isError(r) ? r : ncclSuccess;
  }

  void abort() {
    if (comm)
      ncclCommAbort(comm);
    comm = nullptr;
  }
  void fail(ncclResult_t r) {
    failure = "NCCL fails in " + operation + " on rank " + std::to_string(rank) + " of " +
              std::to_string(size) + ": " + ncclGetErrorString(r);
    if (const char *more = comm ? ncclGetLastError(comm) : nullptr; more && *more)
      failure += " (" + std::string(more) + ")";
    failure += "; NCCL_DEBUG=WARN tells more, --gpu-link host does without NCCL";
    abort();
  }
  void checkLocked() const {
    if (!failure.empty())
      throw RunError(failure);
  }
  void require(ncclResult_t r) {
    if (isError(r))
      fail(r);
    checkLocked();
  }
  /// Waits until what was started is on the stream: a rank that does not come is noticed
  /// by the transport, which ends the process.
  void settle() {
    for (ncclResult_t state = ncclInProgress; state == ncclInProgress;) {
      require(ncclCommGetAsyncError(comm, &state));
      require(state);
      if (state == ncclInProgress)
        std::this_thread::yield();
    }
  }
  void watch() {
    std::unique_lock<std::mutex> hold(lock);
    while (!stop && comm) {
      changed.wait_for(hold, kWatchEvery);
      ncclResult_t state = ncclSuccess;
      if (comm && !isError(ncclCommGetAsyncError(comm, &state)) && isError(state))
        fail(state);
    }
  }

  const int rank, size;
  std::mutex lock; ///< of all below, and of calls to NCCL
  std::condition_variable changed;
  ncclComm_t comm = nullptr;
  std::string operation = "its start", failure;
  bool stop = false;
  std::thread watcher;
};

/// A first exchange in each group, in the program's order: NCCL connects two ranks at
/// their first message, which takes long. The numbers of the members must come back.
void warm(Context &ctx) {
  for (int g = 0; g < int(ctx.program->numGroups); ++g) {
    const Group &group = ctx.comm->group(g);
    const int32_t own = int32_t(ctx.comm->rank());
    DeviceBlock mine(sizeof own), all(group.size() * int64_t(sizeof own));
    upload(ctx, mine.data(), &own, sizeof own);
    allGather(ctx, g, "the first exchange", mine.as<int32_t>(), all.as<int32_t>(), 1, 1, 1);
    std::vector<int32_t> members(group.size());
    download(ctx, members.data(), all.data(), all.size());
    ctx.link->check();
    if (!std::equal(members.begin(), members.end(), group.members.begin()))
      throw RunError("NCCL's first exchange gives other ranks' numbers than it should; "
                     "--gpu-link host does without NCCL");
  }
}
} // namespace

std::shared_ptr<DeviceLink> linkByNccl(Context &ctx) {
  ctx.link = std::make_shared<ByNccl>(ctx);
  if (ctx.program)
    warm(ctx);
  return ctx.link;
}

} // namespace moire::rt

#else

namespace moire::rt {
std::shared_ptr<DeviceLink> linkByNccl(Context &) { return nullptr; }
} // namespace moire::rt

#endif
