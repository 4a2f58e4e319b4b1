//===- stream.cpp - Streams and events of the model -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/stream.h"
#include "moire/rt/cuda/launch.h"

#include <cstring>
#include <functional>
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
} // namespace

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
  *event = {stream, stream ? stream->given() : 0};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream)
    event->stream->finish(event->count);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!stream)
    return cudaEventSynchronize(event);
  if (event->stream)
    stream->give(std::make_shared<WaitForEvent>(*event));
  return cudaSuccess;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

struct moireModelGraph {
  std::vector<std::function<void()>> nodes;
};

/// Does `node`, or notes it where the stream is captured.
template <typename Node> static cudaError_t doOnStream(cudaStream_t stream, Node node) {
  using moire::rt::model::captured;
  if (captured && !stream)
    captured->push_back(node);
  else
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
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
  *graph = new moireModelGraph{std::move(*moire::rt::model::captured)};
  delete std::exchange(moire::rt::model::captured, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  *exec = new moireModelGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const std::function<void()> &node : exec->nodes)
    node();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }
