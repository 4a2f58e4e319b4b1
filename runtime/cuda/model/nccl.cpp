//===- nccl.cpp - A model of NCCL's sends and receives --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Nothing runs behind the callers: whoever asks for a communicator's state moves its
// current group on as far as it can go.
//
//===----------------------------------------------------------------------===//

#include "cuda/model/nccl.h"

#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {
/// A message that lies at its sender.
struct Post {
  const void *data;
  size_t bytes;
  bool taken = false, withdrawn = false;
};
struct World {
  std::mutex lock; ///< of posts and communicators' groups
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Post>>> posts; ///< by from, to
  int arrived = 0;
};
std::mutex worldsLock;
std::map<std::string, std::shared_ptr<World>> worlds;

struct Operation {
  void *data;
  size_t bytes;
  int peer;
  bool send;
  std::shared_ptr<Post> post; ///< of a send that has begun
  bool done = false;
};
using Group = std::vector<Operation>;
} // namespace

struct ncclComm {
  std::shared_ptr<World> world;
  int rank, ranks;
  std::deque<Group> groups; ///< to be done, in order
  ncclResult_t error = ncclSuccess;
  std::string why;

  ncclResult_t fail(ncclResult_t result, const std::string &text) {
    error = result;
    why = text;
    return result;
  }
  void advance();
};

namespace {
thread_local int depth = 0;
thread_local ncclComm *grouped = nullptr, *latest = nullptr;
thread_local Group open;
std::atomic<int> ids{0};

ncclResult_t add(void *data, size_t bytes, int peer, ncclComm *comm, bool send) {
  if (depth == 0 || peer < 0 || peer >= comm->ranks || peer == comm->rank)
    return ncclInvalidUsage;
  grouped = comm;
  open.push_back({data, bytes, peer, send, nullptr});
  return ncclSuccess;
}
} // namespace

void ncclComm::advance() {
  while (!groups.empty() && error == ncclSuccess) {
    bool done = true;
    for (Operation &o : groups.front()) {
      if (o.done)
        continue;
      if (o.send) {
        if (!o.post) {
          o.post = std::make_shared<Post>(Post{o.data, o.bytes});
          world->posts[{rank, o.peer}].push_back(o.post);
        }
        o.done = o.post->taken;
      } else if (auto &queue = world->posts[{o.peer, rank}]; !queue.empty()) {
        const std::shared_ptr<Post> post = queue.front();
        queue.pop_front();
        if (post->withdrawn || post->bytes != o.bytes) {
          fail(ncclInternalError, "rank " + std::to_string(o.peer) + " sends " +
                                      std::to_string(post->bytes) + " bytes, " +
                                      std::to_string(o.bytes) + " were expected");
          return;
        }
        std::memcpy(o.data, post->data, o.bytes);
        o.done = post->taken = true;
      }
      done = done && o.done;
    }
    if (!done)
      return;
    groups.pop_front();
  }
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  std::strcpy(id->internal, std::to_string(++ids).c_str());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
  if (config->blocking)
    return ncclInvalidUsage; // not modelled
  std::lock_guard<std::mutex> hold(worldsLock);
  auto &world = worlds[id.internal];
  if (!world)
    world = std::make_shared<World>();
  *comm = latest = new ncclComm{world, rank, ranks, {}, ncclSuccess, {}};
  if (++world->arrived == ranks)
    worlds.erase(id.internal);
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state) {
  std::lock_guard<std::mutex> worldHold(worldsLock);
  std::lock_guard<std::mutex> hold(comm->world->lock);
  comm->advance();
  *state = comm->error;
  if (*state == ncclSuccess && (comm->world->arrived < comm->ranks || !comm->groups.empty()))
    *state = ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    std::lock_guard<std::mutex> hold(comm->world->lock);
    for (Group &group : comm->groups)
      for (Operation &o : group)
        if (o.post)
          o.post->withdrawn = true;
  }
  if (latest == comm)
    latest = nullptr;
  delete comm;
  return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
  switch (result) {
  case ncclSuccess:
    return "no error";
  case ncclInternalError:
    return "internal error";
  case ncclInvalidUsage:
    return "invalid usage";
  case ncclRemoteError:
    return "remote process exited or there was a network error";
  case ncclInProgress:
    return "in progress";
  }
  return "unknown";
}
const char *ncclGetLastError(ncclComm_t comm) { return comm->why.c_str(); }

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (depth == 0)
    return ncclInvalidUsage;
  if (--depth > 0)
    return ncclSuccess;
  Group group = std::move(open);
  open.clear();
  if (group.empty())
    return ncclSuccess;
  if (group.size() >= 256)
    return ncclInvalidUsage;
  std::lock_guard<std::mutex> hold(grouped->world->lock);
  grouped->groups.push_back(std::move(group));
  return ncclInProgress;
}
ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t) {
  return add(const_cast<void *>(data), count, peer, comm, true);
}
ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t) {
  return add(data, count, peer, comm, false);
}

void moire::rt::model::breakNccl() {
  std::lock_guard<std::mutex> hold(latest->world->lock);
  latest->fail(ncclRemoteError, "the test broke it");
}
