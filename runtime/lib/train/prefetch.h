//===- prefetch.h - Reads the next step's data during a step ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PREFETCH_H
#define MOIRE_RT_PREFETCH_H

#include "train/data.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace moire::rt {

/// The micro-batches that one rank needs, read on a thread of their own: those of the next step
/// while this one is computed, so that a step waits only for data that comes more slowly than it
/// is used. Holds two steps' micro-batches.
class Prefetch {
public:
  /// The first `micros` micro-batches of a step of this rank; 0: none.
  struct Want {
    int64_t rowsBefore, micros; ///< as in DataSource::read
    size_t length = 0;          ///< index into the constructor's lengths

    bool operator==(const Want &other) const {
      return rowsBefore == other.rowsBefore && micros == other.micros && length == other.length;
    }
  };

  /// This rank is shard `shard` of `shards`; no step has more than `most` micro-batches, each of
  /// one of these lengths.
  Prefetch(std::unique_ptr<DataSource> source, const std::vector<const Program *> &lengths,
           int64_t most, int64_t shard, int64_t shards);
  /// Waits for the micro-batch that is being read.
  ~Prefetch();

  std::string describe() const { return source->describe(); }

  /// Waits for what `now` names and begins to read what `next` names, which the following call is
  /// to take; one that takes something else reads it then. Valid until the following call. Throws
  /// what reading `now` threw.
  const MicroBatch *take(Want now, Want next);

private:
  void run();
  void request(Want want);

  const std::unique_ptr<DataSource> source;
  const int64_t shard, shards;
  /// By length: of this step, of the next one.
  std::vector<std::vector<MicroBatch>> batches[2];
  std::mutex mutex;
  std::condition_variable changed;
  // Under the mutex. While `reading`, batches[1] is the thread's.
  Want wanted = {0, 0}; ///< what is being read, or was last
  bool reading = false, stopped = false;
  std::exception_ptr error; ///< that ended the reading of `wanted`
  std::thread thread;       ///< last: it uses the rest
};

} // namespace moire::rt

#endif // MOIRE_RT_PREFETCH_H
