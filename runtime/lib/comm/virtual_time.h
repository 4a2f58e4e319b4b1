//===- virtual_time.h - A rank's clocks where time is computed ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Many ranks on few cores hide on the wall clock what each of them waits for: another
// rank computes meanwhile. In virtual time a rank's thread is as old as the processor
// time that it used, its queue as old as what came last over the injected network, and
// who waits for the other becomes as old as it.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_VIRTUAL_TIME_H
#define MOIRE_RT_COMM_VIRTUAL_TIME_H

#include <ctime>

namespace moire::rt {

/// Seconds of processor time that the calling thread has used.
inline double threadSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

struct VirtualTime {
  bool on = false;
  double compute = 0; ///< the clock of the thread that computes, as of its last leave()
  double queue = 0;   ///< that of the queue's thread

  /// Around what the thread that computes does here: its own time counts up to enter()
  /// and again from leave().
  void enter() { compute += threadSeconds() - left; }
  void leave() { left = threadSeconds(); }

private:
  double left = threadSeconds();
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_VIRTUAL_TIME_H
