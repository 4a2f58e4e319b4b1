//===- stream.cpp - Streams and events of the model -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/stream.h"
#include "moire/rt/cuda/launch.h"

#include <thread>
#include <utility>

using moire::rt::model::Stream;
using moire::rt::model::Work;

namespace moire::rt {

cudaStream_t streamOf(Context &) { return nullptr; }

namespace model {
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
