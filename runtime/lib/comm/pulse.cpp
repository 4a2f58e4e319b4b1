//===- pulse.cpp - Signs of life between the ranks of mpirun --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/pulse.h"
#include "moire/rt/comm.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace moire::rt {

namespace {
constexpr int kTag = 78;
constexpr char kAlive = 'h', kDone = 'd';
constexpr double kSilence = 0.7; ///< of the timeout
} // namespace

Pulse::Pulse(const MpiLibrary &mpi, std::mutex &lock, int rank, int size, double timeout)
    : mpi(mpi), lock(lock), rank(rank), size(size), timeout(timeout), peers(size) {
  for (int r = 0; r < size; ++r) {
    Peer &p = peers[r];
    p.silentUntil = after(kSilence * timeout);
    p.done = p.toldDone = r == rank;
    if (r != rank)
      mpi.receive(&p.in, 1, mpi.byte, r, kTag, mpi.world, &p.receive);
  }
  // Signals are for the thread that computes.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Pulse::~Pulse() {
  stopping = true;
  if (thread.joinable())
    thread.join();
}

void Pulse::enter(const char *what) {
  std::lock_guard<std::mutex> hold(wordsLock);
  std::snprintf(operation, sizeof operation, "%s", what);
  computing = false;
}
void Pulse::leave() {
  std::lock_guard<std::mutex> hold(wordsLock);
  computing = true;
}
void Pulse::finish() {
  enter("the end of the run");
  finishing = true;
  thread.join();
}

void Pulse::run() {
  const double interval = std::min(1.0, timeout / 10);
  Deadline next = after(0);
  while (!stopping) {
    const auto now = std::chrono::steady_clock::now();
    const bool due = now >= next;
    if (!beat(due))
      return;
    if (due)
      next = after(interval);
    for (int r = 0; r < size; ++r)
      if (!peers[r].done && now > peers[r].silentUntil)
        lose(r);
    std::this_thread::sleep_for(std::chrono::duration<double>(finishing ? 0.001 : interval / 4));
  }
}

bool Pulse::beat(bool due) {
  std::lock_guard<std::mutex> hold(lock);
  bool open = false;
  for (int r = 0; r < size; ++r) {
    Peer &p = peers[r];
    for (int came = !p.done; came;) {
      mpi.test(&p.receive, &came, nullptr);
      if (!came)
        break;
      p.silentUntil = after(kSilence * timeout);
      p.done = p.in == kDone;
      if (p.done)
        break;
      mpi.receive(&p.in, 1, mpi.byte, r, kTag, mpi.world, &p.receive);
    }
    if (p.sending) {
      int sent = 0;
      mpi.test(&p.send, &sent, nullptr);
      p.sending = !sent;
    }
    if (!p.sending && !p.toldDone && (due || finishing)) {
      p.toldDone = finishing;
      p.out = p.toldDone ? kDone : kAlive;
      mpi.send(&p.out, 1, mpi.byte, r, kTag, mpi.world, &p.send);
      p.sending = true;
    }
    open = open || p.sending || !p.toldDone || !p.done;
  }
  return open;
}

void Pulse::lose(int peer) {
  char why[120];
  std::snprintf(why, sizeof why,
                "no sign of life for %g s; raise --comm-timeout if its machine is only slow",
                kSilence * timeout);
  std::unique_lock<std::mutex> words(wordsLock);
  const std::string where = computing ? "what follows " + std::string(operation) : operation;
  std::fprintf(stderr, "error: %s\n", RankFault{peer, why}.sentence(size, where).c_str());
  std::fflush(stderr);
  std::lock_guard<std::mutex> hold(lock);
  mpi.abort(mpi.world, 2);
  std::_Exit(2);
}

} // namespace moire::rt
