//===- watchdog.cpp - Signs of life between processes ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/watchdog.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace moire::rt {

namespace {
// Messages: 'h'; 'd' (done); 's', rank and length as int32, the reason.
constexpr char kAlive = 'h', kDone = 'd', kStop = 's';
constexpr size_t kLongestReason = 2000;

/// Of the timeout: how long a rank may be silent, and how long the thread that
/// computes has to notice.
constexpr double kSilence = 0.7, kGrace = 0.1;

Socket event() { return Socket(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
void signal(const Socket &event) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(event.get(), &one, sizeof one);
}
} // namespace

Watchdog::Watchdog(int rank, std::vector<Socket> control, double timeout)
    : rank(rank), size(int(control.size())), timeout(timeout), peers(control.size()),
      lostEvent(event()), stopEvent(event()) {
  for (int r = 0; r < size; ++r) {
    peers[r].socket = std::move(control[r]);
    peers[r].silentUntil = after(kSilence * timeout);
    peers[r].closed = r == rank;
  }
  // Signals are for the thread that computes.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  stopping = true;
  signal(stopEvent);
  thread.join();
}

void Watchdog::enter(const char *what) {
  std::lock_guard<std::mutex> hold(lock);
  std::snprintf(operation, sizeof operation, "%s", what);
  computing = false;
}
void Watchdog::leave() {
  std::lock_guard<std::mutex> hold(lock);
  computing = true;
}

void Watchdog::run() {
  const double interval = std::min(1.0, timeout / 10);
  Deadline nextBeat = after(0);
  while (!stopping && !isLost) {
    std::vector<pollfd> fds = {{stopEvent.get(), POLLIN, 0}};
    for (const Peer &p : peers)
      fds.push_back({p.closed ? -1 : p.socket.get(), POLLIN, 0});
    poll(fds.data(), fds.size(), millisecondsTo(nextBeat));
    // First what has come, then who is late: this process may have been stopped itself.
    for (int r = 0; r < size; ++r)
      if (fds[1 + r].revents)
        read(r);
    const auto now = std::chrono::steady_clock::now();
    if (now >= nextBeat) {
      tellAll(std::string(1, kAlive));
      nextBeat = after(interval);
    }
    for (int r = 0; r < size; ++r) {
      std::unique_lock<std::mutex> hold(lock);
      const bool late = !peers[r].closed && !peers[r].done && now > peers[r].silentUntil;
      hold.unlock();
      if (!late)
        continue;
      char why[120];
      std::snprintf(why, sizeof why,
                    "no sign of life for %g s; raise --comm-timeout if its machine is only slow",
                    kSilence * timeout);
      lose(r, why);
    }
  }
  if (isLost)
    endProcess();
}

void Watchdog::read(int from) {
  Peer &p = peers[from];
  for (;;) {
    char buffer[4096];
    const ssize_t n = recv(p.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) {
      p.silentUntil = after(kSilence * timeout);
      p.input.append(buffer, n);
      parse(from);
      continue;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    p.closed = true;
    if (!p.done)
      lose(from, "its connection closed");
    return;
  }
}

void Watchdog::parse(int from) {
  std::string &in = peers[from].input;
  size_t at = 0;
  for (; at < in.size(); ++at) {
    if (in[at] == kDone) {
      std::lock_guard<std::mutex> hold(lock);
      peers[from].done = true;
      changed.notify_all();
    } else if (in[at] == kStop) {
      int32_t head[2];
      if (in.size() - at < 1 + sizeof head)
        break;
      std::memcpy(head, &in[at + 1], sizeof head);
      const size_t length = std::min<size_t>(size_t(std::max(head[1], 0)), kLongestReason);
      if (in.size() - at < 1 + sizeof head + length)
        break;
      if (head[0] >= 0 && head[0] < size && head[0] != rank)
        lose(head[0], in.substr(at + 1 + sizeof head, length));
      else // it takes this rank for lost: then it is lost to this rank
        lose(from, "it stopped because it heard nothing of rank " + std::to_string(rank));
      at += sizeof head + length;
    }
  }
  in.erase(0, at);
}

void Watchdog::lose(int who, const std::string &why) {
  {
    std::lock_guard<std::mutex> hold(lock);
    if (fault.rank >= 0)
      return;
    fault = {who, why};
    isLost = true;
    changed.notify_all();
  }
  signal(lostEvent);
  const std::string reason = why.substr(0, kLongestReason);
  const int32_t head[2] = {int32_t(who), int32_t(reason.size())};
  tellAll(kStop + std::string(reinterpret_cast<const char *>(head), sizeof head) + reason);
}

/// Never waits: a rank that does not read is lost anyway.
void Watchdog::tellAll(const std::string &message) {
  std::lock_guard<std::mutex> hold(sending);
  for (Peer &p : peers)
    if (p.socket)
      send(p.socket.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/// The watchdog's last act: where the thread that computes does not notice, it may be
/// in a long computation.
void Watchdog::endProcess() {
  const Deadline until = after(kGrace * timeout);
  while (!taken && !stopping && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (taken || stopping)
    return;
  std::unique_lock<std::mutex> hold(lock);
  const std::string where = computing ? "what follows " + std::string(operation) : operation;
  std::fprintf(stderr, "error: %s\n", fault.sentence(size, where).c_str());
  std::fflush(stderr);
  std::_Exit(2);
}

void Watchdog::raise(const std::string &what, int who, const std::string &why) {
  taken = true;
  std::unique_lock<std::mutex> hold(lock);
  changed.wait_for(hold, std::chrono::milliseconds(300), [&] { return fault.rank >= 0; });
  const bool known = fault.rank >= 0;
  hold.unlock();
  if (!known)
    lose(who, why);
  throw LostError(fault.sentence(size, what));
}

bool Watchdog::allDone() {
  for (int r = 0; r < size; ++r)
    if (r != rank && !peers[r].done)
      return false;
  return true;
}

void Watchdog::finish() {
  tellAll(std::string(1, kDone));
  std::unique_lock<std::mutex> hold(lock);
  std::snprintf(operation, sizeof operation, "the end of the run");
  computing = false;
  changed.wait(hold, [&] { return fault.rank >= 0 || allDone(); });
  taken = finished = true;
  if (!allDone())
    throw LostError(fault.sentence(size, operation));
}

void Watchdog::abort(const std::string &why) noexcept {
  taken = true;
  if (finished)
    return;
  try {
    lose(rank, stoppedWith(why));
    // Closed with the others' bytes unread, a connection is reset and the reason may
    // be lost on its way: leave them the time to read it.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } catch (...) {
  }
}

} // namespace moire::rt
