//===- nccl.cpp - A model of NCCL's sends and receives --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Nothing runs behind the callers: whoever asks for a communicator's state moves the
// current group of the rank's stream on as far as it can go, and who waits for another
// stream (stream.h) those that lie there.
//
//===----------------------------------------------------------------------===//

#include "cuda/model/nccl.h"
#include "cuda/model/model.h"
#include "cuda/model/stream.h"

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

/// What of a communicator stays until its streams have ended.
struct State {
  std::shared_ptr<World> world;
  int rank, ranks;
  // Of these the world's lock.
  std::deque<Group> groups; ///< of the rank's stream, to be done in order
  ncclResult_t error = ncclSuccess;
  bool aborted = false;
  std::string why;

  ncclResult_t fail(ncclResult_t result, const std::string &text) {
    error = result;
    why = text;
    return result;
  }
  bool isOver() const { return error != ncclSuccess || aborted; }
  /// Goes on with a group; true once it is done.
  bool advance(Group &group);
  void withdraw(Group &group) {
    for (Operation &o : group)
      if (o.post)
        o.post->withdrawn = true;
  }
};

/// A group on a stream beside the rank's.
struct GroupOfStream final : moire::rt::model::Work {
  GroupOfStream(std::shared_ptr<State> state, Group group)
      : state(std::move(state)), group(std::move(group)) {}
  bool advance() override {
    std::lock_guard<std::mutex> hold(state->world->lock);
    const bool done = state->advance(group);
    if (!done && state->isOver())
      state->withdraw(group);
    return done || state->isOver();
  }
  std::shared_ptr<State> state;
  Group group;
};
} // namespace

struct ncclComm {
  std::shared_ptr<State> state;
};

namespace {
thread_local int depth = 0;
thread_local ncclComm *grouped = nullptr, *latest = nullptr;
thread_local cudaStream_t streamOfGroup = nullptr;
thread_local Group open;
std::atomic<int> ids{0};

ncclResult_t add(void *data, size_t bytes, int peer, ncclComm *comm, bool send,
                 cudaStream_t stream) {
  if (depth == 0 || peer < 0 || peer >= comm->state->ranks || peer == comm->state->rank)
    return ncclInvalidUsage;
  grouped = comm;
  streamOfGroup = stream;
  open.push_back({data, bytes, peer, send, nullptr});
  return ncclSuccess;
}
} // namespace

bool State::advance(Group &group) {
  bool done = true;
  for (Operation &o : group) {
    if (isOver())
      return false;
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
        return false;
      }
      std::memcpy(o.data, post->data, o.bytes);
      o.done = post->taken = true;
    }
    done = done && o.done;
  }
  return done;
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
  auto state = std::make_shared<State>();
  state->world = world;
  state->rank = rank;
  state->ranks = ranks;
  *comm = latest = new ncclComm{state};
  if (++world->arrived == ranks)
    worlds.erase(id.internal);
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result) {
  State &state = *comm->state;
  std::lock_guard<std::mutex> worldHold(worldsLock);
  std::lock_guard<std::mutex> hold(state.world->lock);
  while (!state.groups.empty() && state.advance(state.groups.front()))
    state.groups.pop_front();
  *result = state.error;
  if (*result == ncclSuccess && (state.world->arrived < state.ranks || !state.groups.empty()))
    *result = ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    std::lock_guard<std::mutex> hold(comm->state->world->lock);
    comm->state->aborted = true;
    for (Group &group : comm->state->groups)
      comm->state->withdraw(group);
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
const char *ncclGetLastError(ncclComm_t comm) { return comm->state->why.c_str(); }

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
  if (streamOfGroup) { // goes on when somebody waits for it
    auto give = [stream = streamOfGroup, state = grouped->state, group] {
      stream->give(std::make_shared<GroupOfStream>(state, group));
    };
    if (!moire::rt::model::noteNode(streamOfGroup, give)) {
      if (moire::rt::model::captured) // the graph would not have it
        return ncclInvalidUsage;
      give();
    }
    return ncclInProgress;
  }
  if (moire::rt::model::captured)
    return ncclInvalidUsage; // not modelled
  std::lock_guard<std::mutex> hold(grouped->state->world->lock);
  grouped->state->groups.push_back(std::move(group));
  return ncclInProgress;
}
ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(const_cast<void *>(data), count, peer, comm, true, stream);
}
ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(data, count, peer, comm, false, stream);
}

void moire::rt::model::breakNccl() {
  std::lock_guard<std::mutex> hold(latest->state->world->lock);
  latest->state->fail(ncclRemoteError, "the test broke it");
}
