//===- watchdog.h - Signs of life between processes -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread sends every other rank a byte at least every second, over a connection of
// its own, whatever the rank computes. So slow work is told from a rank that is gone:
//
//   its connection closed           it died, at once
//   no byte for 0.7 · timeout       it is stopped, or its machine or cable is gone
//   "I stop, because rank 3 …"      it noticed first, or has an error of its own
//
// Who notices tells all others. The thread that computes learns of it in its present
// or next exchange; where it does not come to one soon, the watchdog prints the
// sentence and ends the process itself.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_WATCHDOG_H
#define MOIRE_RT_COMM_WATCHDOG_H

#include "comm/socket.h"
#include "moire/rt/comm.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace moire::rt {

class Watchdog {
public:
  /// control: a connection to each rank, the own entry empty. timeout in seconds: all
  /// ranks have ended that long after one died or stalled.
  Watchdog(int rank, std::vector<Socket> control, double timeout);
  ~Watchdog();

  /// Around an operation of the thread that computes, for the sentence.
  void enter(const char *what);
  void leave();
  /// What follows is for any thread. Readable once a rank is lost.
  int wake() const { return lostEvent.get(); }
  bool somethingLost() const { return isLost; }
  RankFault faultNow() {
    std::lock_guard<std::mutex> hold(lock);
    return fault;
  }
  /// Throws the sentence of what was lost in operation `what`. Where nothing is known yet, waits shortly
  /// for a better reason than `why`, which the caller found out about `rank`.
  [[noreturn]] void raise(const std::string &what, int rank = -1, const std::string &why = "");

  /// All ranks are done: waits for the others' word that they are.
  void finish();
  void abort(const std::string &why) noexcept;

private:
  struct Peer {
    Socket socket;
    std::string input; ///< of messages that have not come whole
    Deadline silentUntil;
    bool done = false; ///< said that it is
    bool closed = false;
  };
  void run();
  void read(int rank);
  void parse(int rank);
  void lose(int rank, const std::string &why);
  void tellAll(const std::string &message);
  void endProcess();
  bool allDone();

  const int rank, size;
  const double timeout;
  std::vector<Peer> peers;
  Socket lostEvent, stopEvent;
  std::atomic<bool> isLost{false}, taken{false}, stopping{false};
  std::mutex lock; ///< of what follows, and of `done`
  std::condition_variable changed;
  RankFault fault;
  char operation[160] = "the start"; ///< a copy: the caller's text may be gone
  bool computing = true, finished = false;
  std::mutex sending;
  std::thread thread;
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_WATCHDOG_H
