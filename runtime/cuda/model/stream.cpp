//===- stream.cpp - Streams and events of the model -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/stream.h"
#include "moire/rt/cuda/launch.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

using moire::rt::model::Stream;
using moire::rt::model::Work;

namespace moire::rt {

cudaStream_t streamOf(Context &) { return nullptr; }

namespace model {
__thread std::vector<std::function<void()>> *captured = nullptr;

void Stream::give(std::shared_ptr<Work> work) {
  std::lock_guard<std::mutex> hold(lock);
  works.push_back(std::move(work));
}
int64_t Stream::given() {
  std::lock_guard<std::mutex> hold(lock);
  return over + int64_t(works.size());
}
bool Stream::advance(int64_t count) {
  std::lock_guard<std::mutex> hold(lock);
  while (over < count && works.front()->advance()) {
    works.pop_front();
    ++over;
  }
  return over >= count;
}
void Stream::finish(int64_t count) {
  while (!advance(count))
    std::this_thread::yield();
}
} // namespace model

} // namespace moire::rt

/// The end of what its stream had been given when it was recorded.
struct moireModelEvent {
  Stream *stream = nullptr;
  int64_t count = 0;
};

namespace {
struct WaitForEvent final : Work {
  explicit WaitForEvent(const moireModelEvent &event) : event(event) {}
  bool advance() override { return event.stream->advance(event.count); }
  const moireModelEvent event;
};

/// What a capture knows beside its nodes.
struct Forks {
  struct Fork {
    int64_t given = 0, joined = 0; ///< works, and how many the rank's stream waits for
  };
  std::map<Stream *, Fork> streams;                             ///< that follow the rank's
  std::map<cudaEvent_t, std::pair<Stream *, int64_t>> recorded; ///< in the capture
  size_t calls = 0; ///< among what was noted, that are no nodes
};
thread_local Forks forks;

bool isCaptured(Stream *stream) {
  return moire::rt::model::captured && (!stream || forks.streams.count(stream));
}
/// Notes what orders nodes, and is none.
template <typename Call> void noteCall(Call call) {
  moire::rt::model::captured->push_back(call);
  ++forks.calls;
}

cudaError_t record(cudaEvent_t event, Stream *stream) {
  *event = {stream, stream ? stream->given() : 0};
  return cudaSuccess;
}
cudaError_t follow(Stream *stream, cudaEvent_t event) {
  if (!stream)
    return cudaEventSynchronize(event);
  if (event->stream)
    stream->give(std::make_shared<WaitForEvent>(*event));
  return cudaSuccess;
}
} // namespace

bool moire::rt::model::noteNode(Stream *stream, std::function<void()> give) {
  if (!isCaptured(stream))
    return false;
  if (stream)
    ++forks.streams[stream].given;
  captured->push_back(std::move(give));
  return true;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned, int) {
  *stream = new Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream)
    stream->finish(stream->given());
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  *event = new moireModelEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!isCaptured(stream))
    return record(event, stream);
  forks.recorded[event] = {stream, stream ? forks.streams[stream].given : 0};
  noteCall([=] { record(event, stream); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream)
    event->stream->finish(event->count);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto inside = forks.recorded.find(event);
  if (inside == forks.recorded.end())
    return isCaptured(stream) ? cudaErrorStreamCaptureIsolation : follow(stream, event);
  const auto [of, count] = inside->second;
  if (stream)
    forks.streams[stream]; // from now on
  else if (of)
    forks.streams[of].joined = std::max(forks.streams[of].joined, count);
  noteCall([=] { follow(stream, event); });
  return cudaSuccess;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

struct moireModelGraph {
  std::vector<std::function<void()>> calls; ///< in the order in which they were captured
  size_t nodes;                             ///< among them
};

/// Does `node`, or notes it where the stream is captured.
template <typename Node> static cudaError_t doOnStream(cudaStream_t stream, Node node) {
  if (stream || !moire::rt::model::noteNode(stream, node))
    node();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return doOnStream(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
  return doOnStream(stream, [=] { std::memset(p, value, bytes); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  moire::rt::model::captured = new std::vector<std::function<void()>>;
  forks = {};
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
  auto &calls = *moire::rt::model::captured;
  const size_t nodes = calls.size() - forks.calls;
  *graph = new moireModelGraph{std::move(calls), nodes};
  delete std::exchange(moire::rt::model::captured, nullptr);
  const Forks ended = std::exchange(forks, {});
  for (const auto &[stream, fork] : ended.streams)
    if (fork.joined < fork.given) {
      delete std::exchange(*graph, nullptr);
      return cudaErrorStreamCaptureUnjoined;
    }
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
  *count = graph->nodes;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  *exec = new moireModelGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const std::function<void()> &call : exec->calls)
    call();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }
