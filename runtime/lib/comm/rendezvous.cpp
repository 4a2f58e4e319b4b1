//===- rendezvous.cpp - How processes find each other ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//  1. Rank 0 listens at the known place, every other one at a port of its own.
//  2. All others come to rank 0 and say who they are and where they listen. The
//     connection stays open until the end: whoever is lost meanwhile is noticed.
//  3. Rank 0 sends everybody the table of addresses.
//  4. Each rank connects to every lower rank, once for each kind of connection, then
//     accepts the higher ones.
//  5. All tell rank 0 that they are ready; rank 0 tells all to go on.
//
// Strangers that connect are not answered: a visitor starts with a word of its own.
//
//===----------------------------------------------------------------------===//

#include "comm/rendezvous.h"

#include <algorithm>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>

namespace moire::rt {

namespace {
enum class Kind : uint32_t { meet, data, control, stages };

/// What every connection starts with.
struct Hello {
  char word[8];
  uint32_t abi;
  int32_t rank, size;
  Kind kind;
  uint32_t port; ///< Kind::meet: where the visitor listens
};
constexpr char kWord[8] = {'m', 'o', 'i', 'r', 'e', '-', 'r', 't'};

/// Rank 0's answer: this, then the table or an error's text.
struct Answer {
  uint32_t refused;
  uint32_t bytes;
};
struct Address {
  uint32_t ip, port;
};

struct Visitor {
  Hello hello;
  in_addr from;
  Socket socket;
};

/// Accepts connections and reads who they are, several at a time.
class Door {
public:
  Door(in_addr address, int port) : listener(listenAt(address, port)) {}
  int port() const { return portOf(listener); }

  /// The next visitor, or one without a socket where one of `watched` became readable
  /// (its index in *which) or, *which being -1, the deadline passed.
  Visitor next(Deadline deadline, const std::vector<const Socket *> &watched, int *which) {
    *which = -1;
    for (;;) {
      std::vector<pollfd> fds = {{listener.get(), POLLIN, 0}};
      for (const Socket *s : watched)
        fds.push_back({s->get(), POLLIN, 0});
      for (const Pending &p : pending)
        fds.push_back({p.visitor.socket.get(), POLLIN, 0});
      const int ready = poll(fds.data(), fds.size(), millisecondsTo(deadline));
      if (ready == 0)
        return {};
      if (ready < 0)
        continue;
      for (size_t i = 0; i < watched.size(); ++i)
        if (fds[1 + i].revents) {
          *which = int(i);
          return {};
        }
      for (size_t i = pending.size(); i-- > 0;)
        if (fds[1 + watched.size() + i].revents)
          if (Visitor v = read(i); v.socket)
            return v;
      if (fds[0].revents) {
        Pending p;
        p.visitor.socket = acceptFrom(listener, &p.visitor.from);
        if (p.visitor.socket)
          pending.push_back(std::move(p));
      }
    }
  }

private:
  struct Pending {
    Visitor visitor = {};
    size_t got = 0;
  };

  /// Reads on; the visitor once it is complete. Forgets strangers.
  Visitor read(size_t i) {
    Pending &p = pending[i];
    char *at = reinterpret_cast<char *>(&p.visitor.hello) + p.got;
    const ssize_t n = recv(p.visitor.socket.get(), at, sizeof(Hello) - p.got, MSG_DONTWAIT);
    if (n > 0 && (p.got += n) < sizeof(Hello))
      return {};
    Visitor v;
    if (n > 0 && std::memcmp(p.visitor.hello.word, kWord, sizeof kWord) == 0)
      v = std::move(p.visitor);
    pending.erase(pending.begin() + i);
    return v;
  }

  Socket listener;
  std::vector<Pending> pending;
};

class Meeting {
public:
  Meeting(const TcpOptions &o, bool twice)
      : o(o), deadline(after(0.8 * o.timeout)), host(resolveHost(o.host)),
        place(o.host + ":" + std::to_string(o.port)) {
    if (twice)
      kinds.push_back(Kind::stages);
  }

  Connections run() {
    made.data.resize(o.size);
    made.control.resize(o.size);
    made.stages.resize(o.size);
    if (o.rank == 0)
      lead();
    else
      join();
    return std::move(made);
  }

private:
  Hello hello(Kind kind, int port = 0) const {
    Hello h = {};
    std::memcpy(h.word, kWord, sizeof kWord);
    h.abi = kAbiVersion;
    h.rank = o.rank;
    h.size = o.size;
    h.kind = kind;
    h.port = uint32_t(port);
    return h;
  }
  [[noreturn]] void lost(int rank, const std::string &why = "its connection closed") const {
    throw RunError(RankFault{rank, why}.sentence(o.size, "the rendezvous at " + place));
  }

  //===--- rank 0 ---===//

  void lead() {
    Door door(host, o.port);
    guests.resize(o.size);
    addresses.resize(o.size);
    try {
      collect(door);
    } catch (const RunError &e) {
      answer(1, e.what(), std::strlen(e.what()));
      throw;
    }
    answer(0, addresses.data(), addresses.size() * sizeof(Address));
    int ready = 0;
    for (int open = int(kinds.size()) * (o.size - 1); open > 0 || ready < o.size - 1;) {
      std::vector<const Socket *> watched;
      std::vector<int> ranks;
      for (int r = 1; r < o.size; ++r)
        if (!isReady(r)) {
          watched.push_back(&guests[r]);
          ranks.push_back(r);
        }
      int which;
      Visitor v = door.next(deadline, watched, &which);
      if (which >= 0) {
        char word;
        if (!receiveAll(guests[ranks[which]], &word, 1, after(0)))
          lost(ranks[which]);
        readyRanks.push_back(ranks[which]);
        ++ready;
      } else if (v.socket) {
        open -= keep(std::move(v));
      } else {
        late();
      }
    }
    for (int r = 1; r < o.size; ++r)
      if (!sendAll(guests[r], "g", 1, deadline))
        lost(r);
  }

  void collect(Door &door) {
    for (int missing = o.size - 1; missing > 0; --missing) {
      std::vector<const Socket *> watched;
      std::vector<int> ranks;
      for (int r = 1; r < o.size; ++r)
        if (guests[r]) {
          watched.push_back(&guests[r]);
          ranks.push_back(r);
        }
      int which;
      Visitor v = door.next(deadline, watched, &which);
      if (which >= 0)
        lost(ranks[which]);
      if (!v.socket)
        late();
      const Hello &h = v.hello;
      if (h.size != o.size || h.abi != kAbiVersion || h.rank < 1 || h.rank >= o.size ||
          h.kind != Kind::meet) {
        guests.push_back(std::move(v.socket)); // is told, too
        throw RunError("rank " + std::to_string(h.rank) + " of " + std::to_string(h.size) +
                       " (runtime " + std::to_string(h.abi) + ") came to " + place +
                       ", where rank 0 of " + std::to_string(o.size) + " (runtime " +
                       std::to_string(kAbiVersion) +
                       ") waits; start all ranks with one program and one number of ranks");
      }
      if (guests[h.rank]) {
        guests.push_back(std::move(v.socket));
        throw RunError("two processes came to " + place + " as rank " + std::to_string(h.rank) +
                       " of " + std::to_string(o.size) + "; give every process its own RANK");
      }
      addresses[h.rank] = {v.from.s_addr, h.port};
      guests[h.rank] = std::move(v.socket);
    }
  }

  void answer(uint32_t refused, const void *data, size_t bytes) {
    const Answer head = {refused, uint32_t(bytes)};
    for (const Socket &guest : guests)
      if (guest && sendAll(guest, &head, sizeof head, deadline))
        sendAll(guest, data, int64_t(bytes), deadline);
  }

  bool isReady(int rank) const {
    return std::count(readyRanks.begin(), readyRanks.end(), rank) > 0;
  }

  [[noreturn]] void late() const {
    std::string missing;
    int count = 0;
    for (int r = 1; r < o.size; ++r)
      if (!guests[r] && count++ < 8)
        missing += (missing.empty() ? "" : ", ") + std::to_string(r);
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%g", 0.8 * o.timeout);
    throw RunError(std::to_string(o.size - count) + " of " + std::to_string(o.size) +
                   " ranks came to " + place + " within " + seconds + " s" +
                   (count ? ", not rank " + missing : "") +
                   "; start all of them, or raise --comm-timeout");
  }

  //===--- all others ---===//

  void join() {
    Door door(host, 0);
    const Socket meeting = connectTo(host, o.port, deadline);
    const Hello me = hello(Kind::meet, door.port());
    Answer head;
    if (!meeting)
      lost(0, "nobody listens there; start it, or raise --comm-timeout");
    if (!sendAll(meeting, &me, sizeof me, deadline) ||
        !receiveAll(meeting, &head, sizeof head, after(o.timeout)))
      lost(0);
    if (head.refused) {
      std::string text(std::min<uint32_t>(head.bytes, 4096), ' ');
      receiveAll(meeting, text.data(), int64_t(text.size()), deadline);
      throw RunError(text);
    }
    addresses.resize(o.size);
    deadline = after(0.8 * o.timeout);
    if (head.bytes != addresses.size() * sizeof(Address) ||
        !receiveAll(meeting, addresses.data(), head.bytes, deadline))
      lost(0);
    addresses[0] = {host.s_addr, uint32_t(o.port)};
    for (int r = 0; r < o.rank; ++r)
      for (Kind kind : kinds) {
        Socket s = connectTo(in_addr{addresses[r].ip}, int(addresses[r].port), deadline);
        const Hello h = hello(kind);
        if (!s || !sendAll(s, &h, sizeof h, deadline))
          lost(r, "it does not answer");
        of(kind)[r] = std::move(s);
      }
    for (int open = int(kinds.size()) * (o.size - 1 - o.rank); open > 0;) {
      int which;
      Visitor v = door.next(deadline, {&meeting}, &which);
      if (which >= 0)
        lost(0);
      if (!v.socket)
        lost(firstMissing(), "it does not answer");
      open -= keep(std::move(v));
    }
    char word;
    if (!sendAll(meeting, "r", 1, deadline) || !receiveAll(meeting, &word, 1, after(o.timeout)))
      lost(0);
  }

  int firstMissing() {
    for (int r = o.rank + 1; r < o.size; ++r)
      for (Kind kind : kinds)
        if (!of(kind)[r])
          return r;
    return 0;
  }

  /// 1 for a connection that was waited for.
  int keep(Visitor v) {
    const Hello &h = v.hello;
    if (!std::count(kinds.begin(), kinds.end(), h.kind) || h.size != o.size ||
        h.rank <= o.rank || h.rank >= o.size)
      return 0;
    Socket &place = of(h.kind)[h.rank];
    if (place)
      return 0;
    place = std::move(v.socket);
    return 1;
  }

  std::vector<Socket> &of(Kind kind) {
    return kind == Kind::data ? made.data : kind == Kind::control ? made.control : made.stages;
  }

  const TcpOptions &o;
  std::vector<Kind> kinds = {Kind::data, Kind::control};
  Deadline deadline;
  in_addr host;
  std::string place;
  Connections made;
  std::vector<Socket> guests; ///< rank 0's connections of the meeting, by rank
  std::vector<int> readyRanks;
  std::vector<Address> addresses;
};
} // namespace

Connections meet(const TcpOptions &options, bool twice) {
  return Meeting(options, twice).run();
}

} // namespace moire::rt
