//===- communicator.cpp - A communicator of NCCL that does not block ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/communicator.h"
#include "moire/rt/comm.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/nccl.h"
#elif defined(MOIRE_NCCL)
#include <nccl.h>
#endif

#if defined(MOIRE_CUDA_MODEL) || defined(MOIRE_NCCL)

namespace moire::rt {

namespace {
constexpr auto kWatchEvery = std::chrono::milliseconds(50);

bool isError(int r) { return r != ncclSuccess && r != ncclInProgress; }
/// Keeps the first error: a group that has begun must be ended.
void note(int &first, int r) {
  if (!isError(first))
    first = isError(r) ? r : int(ncclSuccess);
}
} // namespace

Communicator::Communicator(Context &ctx)
    : transport(ctx.comm->link()), rank(ctx.comm->rank()), size(ctx.comm->size()) {
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

Communicator::~Communicator() {
  {
    std::lock_guard<std::mutex> hold(lock);
    stop = true;
    abort(); // all ranks have ended their last step, or one has failed
  }
  changed.notify_all();
  if (watcher.joinable())
    watcher.join();
}

void Communicator::exchange(const std::string &what, const std::vector<Operation> &operations,
                            cudaStream_t stream) {
  std::unique_lock<std::mutex> hold(lock);
  operation = what;
  checkLocked();
  int result = ncclGroupStart();
  for (const Operation &o : operations)
    if (o.bytes > 0)
      note(result, o.send ? ncclSend(o.data, size_t(o.bytes), ncclInt8, o.peer, comm, stream)
                          : ncclRecv(o.data, size_t(o.bytes), ncclInt8, o.peer, comm, stream));
  note(result, ncclGroupEnd());
  require(result);
  settle();
}

void Communicator::check() {
  std::lock_guard<std::mutex> hold(lock);
  look();
  checkLocked();
}

void Communicator::abort() {
  if (comm)
    ncclCommAbort(comm);
  comm = nullptr;
}
void Communicator::fail(int result) {
  failure = "NCCL fails in " + operation + " on rank " + std::to_string(rank) + " of " +
            std::to_string(size) + ": " + ncclGetErrorString(ncclResult_t(result));
  if (const char *more = comm ? ncclGetLastError(comm) : nullptr; more && *more)
    failure += " (" + std::string(more) + ")";
  failure += "; NCCL_DEBUG=WARN tells more, --gpu-link host does without NCCL";
  abort();
}
void Communicator::checkLocked() const {
  if (lost)
    throw LostError(failure);
  if (!failure.empty())
    throw RunError(failure);
}
void Communicator::require(int result) {
  if (isError(result))
    fail(result);
  checkLocked();
}
void Communicator::lookForLost() {
  const RankFault fault = transport.fault();
  if (!failure.empty() || fault.rank < 0 || fault.rank == rank)
    return;
  lost = true;
  failure = fault.sentence(size, operation);
  abort();
}
/// Waits until what was started is on the stream.
void Communicator::settle() {
  for (ncclResult_t state = ncclInProgress; state == ncclInProgress;) {
    require(ncclCommGetAsyncError(comm, &state));
    require(state);
    if (state != ncclInProgress)
      return;
    lookForLost();
    checkLocked();
    std::this_thread::yield();
  }
}
void Communicator::watch() {
  std::unique_lock<std::mutex> hold(lock);
  while (!stop && comm) {
    changed.wait_for(hold, kWatchEvery);
    look();
  }
}
/// What has failed, or who is lost.
void Communicator::look() {
  ncclResult_t state = ncclSuccess;
  if (comm && !isError(ncclCommGetAsyncError(comm, &state)) && isError(state))
    fail(state);
  if (comm)
    lookForLost();
}

} // namespace moire::rt

#endif
