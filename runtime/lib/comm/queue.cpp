//===- queue.cpp - A rank's collectives beside its computation ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/queue.h"
#include "moire/rt/collectives.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace moire::rt {

int64_t CommQueue::put(Job job) {
  std::unique_lock<std::mutex> hold(lock);
  jobs.push_back(std::move(job));
  ++last;
  if (!thread.joinable()) {
    // Signals are for the thread that computes.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    id = thread.get_id();
  }
  hold.unlock();
  changed.notify_all();
  return last;
}

void CommQueue::wait(int64_t number) {
  std::unique_lock<std::mutex> hold(lock);
  changed.wait(hold, [&] { return done >= number || error; });
  if (!error)
    return;
  // What was put behind the job that failed is dropped with it.
  jobs.clear();
  done = last;
  const std::exception_ptr thrown = std::exchange(error, nullptr);
  hold.unlock();
  changed.notify_all();
  std::rethrow_exception(thrown);
}

void CommQueue::stop() {
  {
    std::lock_guard<std::mutex> hold(lock);
    stopping = true;
  }
  changed.notify_all();
  if (thread.joinable())
    thread.join();
}

void CommQueue::run() {
  std::unique_lock<std::mutex> hold(lock);
  for (;;) {
    changed.wait(hold, [&] { return stopping || (!jobs.empty() && !error); });
    if (stopping)
      return;
    Job job = std::move(jobs.front());
    jobs.pop_front();
    hold.unlock();
    std::exception_ptr thrown;
    bool ends = true; // the run
    try {
      job();
    } catch (const ExpertOverflow &) { // all ranks have it, and go on with parts
      thrown = std::current_exception();
      ends = false;
    } catch (...) {
      thrown = std::current_exception();
    }
    hold.lock();
    if (thrown)
      error = thrown;
    else
      ++done;
    changed.notify_all();
    if (!thrown || !ends || patience <= 0)
      continue;
    // Who computes may not come to a wait soon.
    if (changed.wait_for(hold, std::chrono::duration<double>(patience),
                         [&] { return stopping || !error; }))
      continue;
    try {
      std::rethrow_exception(error);
    } catch (const std::exception &e) {
      std::fprintf(stderr, "error: %s\n", e.what());
    }
    std::fflush(stderr);
    std::_Exit(2);
  }
}

} // namespace moire::rt
