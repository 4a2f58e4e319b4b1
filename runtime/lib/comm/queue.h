//===- queue.h - A rank's collectives beside its computation --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One thread a rank does what is put into its queue, in that order. A rank's transport
// is used by this thread and by the one that computes, never at once: who computes
// waits until the queue is empty before it communicates itself.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_QUEUE_H
#define MOIRE_RT_COMM_QUEUE_H

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace moire::rt {

class CommQueue {
public:
  using Job = std::function<void()>;

  /// patience: seconds that the thread that computes has to take an error of the queue,
  /// by a wait; then the process says it and ends with code 2. 0: any time, as for an
  /// ExpertOverflow, which ends nothing.
  explicit CommQueue(double patience = 0) : patience(patience) {}
  /// Jobs that have not begun are dropped.
  ~CommQueue() { stop(); }

  /// Puts a job at the end; its number counts from 1.
  int64_t put(Job job);
  /// Until the job of this number, and so all before it, is done. Throws what one threw; all
  /// that were put behind that one are dropped, and the queue is as new.
  void wait(int64_t number);
  /// Until the queue is empty.
  void drain() { wait(last); }
  /// Ends the thread once the job under way is over.
  void stop();
  /// Whether the caller is the queue's thread.
  bool isThis() const { return std::this_thread::get_id() == id; }

private:
  void run();

  const double patience;
  std::thread thread;
  std::thread::id id; ///< set before the thread does its first job
  std::mutex lock;
  std::condition_variable changed;
  std::deque<Job> jobs;
  int64_t last = 0; ///< the number of the last job put; of the thread that computes
  int64_t done = 0;
  bool stopping = false;
  std::exception_ptr error; ///< that nobody has taken yet: no other job is done
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_QUEUE_H
