//===- stream.h - Streams and events of the model -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The rank's stream is null: what it is given is done at once. Another stream does what
// it is given as late as events allow: when the rank's stream or the host waits for it. So
// what is read without a wait is not there, and what a message still had to take away has
// been written over, in every run.
//
// While the rank's stream is captured, a stream that waits for one of its events is captured, too,
// until the rank's waits for an event of that one. As in CUDA, waiting for an event that was
// recorded outside of the capture is an error, and a stream that has not come back at its end.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_STREAM_H
#define MOIRE_RT_CUDA_MODEL_STREAM_H

#include "cuda/model/vector_types.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace moire::rt::model {

/// What a stream is given that may have to wait for others, e.g. a group of messages.
struct Work {
  virtual ~Work() = default;
  /// Goes on as far as it can; true once it is over.
  virtual bool advance() = 0;
};

class Stream {
public:
  void give(std::shared_ptr<Work> work);
  /// Of all that it was ever given.
  int64_t given();
  /// Goes on as far as it can; whether the first `count` that it was given are over.
  bool advance(int64_t count);
  /// The same, until they are.
  void finish(int64_t count);

private:
  std::mutex lock;
  std::deque<std::shared_ptr<Work>> works; ///< that are not over
  int64_t over = 0;
};

/// Notes a node of a captured stream, `give`, which gives the stream one work; false where the
/// stream is not captured.
bool noteNode(Stream *stream, std::function<void()> give);

} // namespace moire::rt::model

#endif // MOIRE_RT_CUDA_MODEL_STREAM_H
