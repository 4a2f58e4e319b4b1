//===- pulse.h - Signs of life between the ranks of mpirun ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank that dies is mpirun's to notice: it ends all others. A rank that is stopped,
// or whose machine is gone, is not: a thread sends every other rank a byte at least every
// second, by MPI, and ends the run where one has been silent for 0.7 · timeout.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_PULSE_H
#define MOIRE_RT_COMM_PULSE_H

#include "comm/mpi_library.h"
#include "comm/socket.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace moire::rt {

class Pulse {
public:
  /// lock: held around every call of MPI in this process. timeout: seconds.
  Pulse(const MpiLibrary &mpi, std::mutex &lock, int rank, int size, double timeout);
  ~Pulse();
  /// Around an operation, for the sentence.
  void enter(const char *what);
  void leave();
  /// All ranks are done: returns when all others have said so.
  void finish();

private:
  struct Peer {
    MpiLibrary::Handle receive = nullptr, send = nullptr;
    char in = 0, out = 0;
    Deadline silentUntil;
    bool sending = false, done = false, toldDone = false;
  };
  void run();
  bool beat(bool due); ///< false once nothing is left to send or receive
  [[noreturn]] void lose(int peer);

  const MpiLibrary &mpi;
  std::mutex &lock;
  const int rank, size;
  const double timeout;
  std::vector<Peer> peers;
  std::atomic<bool> finishing{false}, stopping{false};
  std::mutex wordsLock;
  char operation[160] = "the start";
  bool computing = true;
  std::thread thread;
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_PULSE_H
