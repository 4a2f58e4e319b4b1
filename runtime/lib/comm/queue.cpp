//===- queue.cpp - A rank's collectives beside its computation ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/queue.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

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
  taken = true;
  changed.notify_all();
  std::rethrow_exception(error);
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
    changed.wait(hold, [&] { return stopping || !jobs.empty(); });
    if (stopping)
      return;
    Job job = std::move(jobs.front());
    jobs.pop_front();
    hold.unlock();
    std::exception_ptr thrown;
    try {
      job();
    } catch (...) {
      thrown = std::current_exception();
    }
    hold.lock();
    if (thrown) {
      error = thrown;
      jobs.clear();
    } else {
      ++done;
    }
    changed.notify_all();
    if (!thrown)
      continue;
    // Who computes may not come to a wait soon.
    const auto heard = [&] { return stopping || taken; };
    if (patience <= 0)
      changed.wait(hold, heard);
    else if (!changed.wait_for(hold, std::chrono::duration<double>(patience), heard)) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception &e) {
        std::fprintf(stderr, "error: %s\n", e.what());
      }
      std::fflush(stderr);
      std::_Exit(2);
    }
    return;
  }
}

} // namespace moire::rt
