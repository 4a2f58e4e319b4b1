//===- tcp.cpp - Ranks that are processes, over TCP -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A message is a header and its bytes. An exchange moves all of its messages at once,
// as far as the sockets let it, and sleeps in poll() where none can go on.
//
//===----------------------------------------------------------------------===//

#include "comm/rendezvous.h"
#include "comm/watchdog.h"
#include "moire/rt/checksum.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>

namespace moire::rt {

namespace {
struct Header {
  uint32_t word;      ///< kWord
  uint32_t operation; ///< a hash of `what`: ranks that are in different ones are told
  int64_t bytes;
};
constexpr uint32_t kWord = 0x6d6f6972;

/// One message on its way in or out.
struct Flow {
  int peer;
  bool out;
  Header header;
  std::vector<iovec> parts; ///< the header and the pieces, what is left of them
  size_t first = 0;
  int64_t moved = 0, total;
  Transport::Clock::time_point start = {};

  Flow(const Message &m, bool out, const Header &h) : peer(m.peer), out(out), header(h) {
    total = int64_t(sizeof header) + m.bytes();
    for (const Piece &p : m.pieces)
      if (p.bytes > 0)
        parts.push_back({p.data, size_t(p.bytes)});
  }
  bool done() const { return moved == total; }
  void advance(size_t n) {
    moved += int64_t(n);
    for (; n > 0 && n >= parts[first].iov_len; ++first)
      n -= parts[first].iov_len;
    if (n > 0) {
      parts[first].iov_base = static_cast<char *>(parts[first].iov_base) + n;
      parts[first].iov_len -= n;
    }
  }
};

class Tcp final : public Transport {
public:
  /// computes: of the thread that computes, whose operations the watchdog looks at.
  Tcp(const TcpOptions &o, std::vector<Socket> connections, std::shared_ptr<Watchdog> dog,
      bool computes)
      : Transport(o.rank, o.size, o.network), data(std::move(connections)),
        watchdog(std::move(dog)), computes(computes) {}

  void finish() override {
    if (computes)
      watchdog->finish();
  }
  void abort(const std::string &why) noexcept override { watchdog->abort(why); }
  RankFault fault() override { return watchdog->faultNow(); }
  std::string describe() const override { return "processes over TCP"; }

  void exchange(const char *what, const std::vector<Message> &sends,
                const std::vector<Message> &receives, const Use *use) override {
    if (computes)
      watchdog->enter(what);
    std::vector<Flow> flows;
    flows.reserve(sends.size() + receives.size());
    const uint32_t operation = uint32_t(fnv1a(what, std::strlen(what)));
    for (const Message &m : sends)
      if (const int64_t bytes = m.bytes()) {
        flows.emplace_back(m, true, Header{kWord, operation, bytes});
        flows.back().start = arrival(bytes);
      }
    for (const Message &m : receives)
      if (m.bytes() > 0)
        flows.emplace_back(m, false, Header{});
    for (Flow &f : flows) // not before they have come to rest: parts point into them
      f.parts.insert(f.parts.begin(), {&f.header, sizeof f.header});
    move(what, operation, flows);
    if (use) {
      std::vector<const void *> received;
      for (const Message &m : receives)
        if (m.bytes() > 0)
          received.push_back(m.pieces[0].data);
      (*use)(received.data());
    }
    if (computes)
      watchdog->leave();
  }

private:
  void move(const char *what, uint32_t operation, std::vector<Flow> &flows) {
    for (;;) {
      if (watchdog->somethingLost())
        watchdog->raise(what);
      const auto now = Clock::now();
      bool open = false, progress = false;
      for (Flow &f : flows) {
        if (f.done())
          continue;
        open = true;
        if (f.start > now)
          continue;
        while (!f.done() && step(what, f))
          progress = true;
        if (!f.out && f.moved >= int64_t(sizeof(Header)))
          check(what, operation, f);
      }
      if (!open)
        return;
      if (!progress)
        wait(flows);
    }
  }

  /// Moves what can be moved now; false where nothing can.
  bool step(const char *what, Flow &f) {
    msghdr m = {};
    m.msg_iov = &f.parts[f.first];
    m.msg_iovlen = std::min<size_t>(f.parts.size() - f.first, 64);
    const int fd = data[f.peer].get();
    const ssize_t n =
        f.out ? sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) : recvmsg(fd, &m, MSG_DONTWAIT);
    if (n > 0) {
      f.advance(size_t(n));
      return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return false;
    watchdog->raise(what, f.peer, "its connection closed");
  }

  void check(const char *what, uint32_t operation, const Flow &f) {
    const int64_t want = f.total - int64_t(sizeof(Header));
    if (f.header.word == kWord && f.header.bytes == want && f.header.operation == operation)
      return;
    throw RunError("rank " + std::to_string(f.peer) + " sends " + std::to_string(f.header.bytes) +
                   " bytes" + (f.header.operation == operation ? "" : " of another operation") +
                   ", rank " + std::to_string(rank()) + " waits for " + std::to_string(want) +
                   " bytes in " + what + "; all ranks must run the same program");
  }

  void wait(const std::vector<Flow> &flows) {
    std::vector<pollfd> fds = {{watchdog->wake(), POLLIN, 0}};
    const auto now = Clock::now();
    auto until = now + std::chrono::seconds(10);
    for (const Flow &f : flows) {
      if (f.done())
        continue;
      if (f.start > now)
        until = std::min(until, f.start);
      else
        fds.push_back({data[f.peer].get(), short(f.out ? POLLOUT : POLLIN), 0});
    }
    poll(fds.data(), fds.size(), millisecondsTo(until));
  }

  std::vector<Socket> data;
  std::shared_ptr<Watchdog> watchdog;
  const bool computes;
};
} // namespace

std::unique_ptr<Transport> connectTcp(const TcpOptions &options) {
  Connections c = meet(options);
  return std::make_unique<Tcp>(
      options, std::move(c.data),
      std::make_shared<Watchdog>(options.rank, std::move(c.control), options.timeout), true);
}

Links connectTcpTwice(const TcpOptions &options) {
  Connections c = meet(options, /*twice=*/true);
  auto dog = std::make_shared<Watchdog>(options.rank, std::move(c.control), options.timeout);
  return {std::make_unique<Tcp>(options, std::move(c.data), dog, true),
          std::make_unique<Tcp>(options, std::move(c.stages), dog, false)};
}

std::unique_ptr<Transport> connectTcpThrough(Comm &comm, TcpOptions options) {
  struct {
    char host[256];
    int32_t port;
  } place = {};
  if (comm.rank() == 0) {
    const std::string host = options.host.empty() ? ownAddress() : options.host;
    std::snprintf(place.host, sizeof place.host, "%s", host.c_str());
    place.port = portOf(listenAt(resolveHost(host), 0)); // free now, and soon taken again
  }
  comm.broadcast(comm.groupOver("pp,dp,ep,tp"), "the address of rank 0", &place, sizeof place);
  options.rank = comm.rank();
  options.size = comm.size();
  options.host = place.host;
  options.port = place.port;
  return connectTcp(options);
}

} // namespace moire::rt
