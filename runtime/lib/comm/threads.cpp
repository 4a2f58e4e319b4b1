//===- threads.cpp - Ranks that are threads of one process ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A sender posts where its bytes lie, receivers copy them from there, or read them
// in place, and say so; the sender leaves when all have. A small message is copied
// into the post instead, so that the sender need not wait.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/comm.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace moire::rt {

namespace {
using Clock = Transport::Clock;

/// Up to here copying costs less than waiting for the receiver.
constexpr int64_t kCopied = 8 << 10;

/// A message that lies at the sender, or in `copy`.
struct Post {
  std::vector<Piece> pieces;
  std::vector<char> copy;
  int64_t bytes;
  std::string what;
  Clock::time_point arrives;
  double begun = 0, virtualArrives = 0; ///< in virtual time
  bool done = false; ///< under the sender's lock; never looked at where it is a copy

  Post(const Message &m, int64_t bytes, const char *what, Clock::time_point arrives)
      : pieces(m.pieces), bytes(bytes), what(what), arrives(arrives) {
    if (bytes > kCopied)
      return;
    copy.resize(bytes);
    copyPieces(m.pieces, {{copy.data(), bytes}});
    pieces = {{copy.data(), bytes}};
  }
};
using PostRef = std::shared_ptr<Post>;

/// What a rank waits at: messages for it, and its own posts' becoming done.
struct Port {
  std::mutex lock;
  std::condition_variable changed;
  std::vector<std::deque<PostRef>> inbox; ///< by sender

  /// Changes something and wakes the rank.
  template <typename Change> void change(Change &&how) {
    {
      std::lock_guard<std::mutex> hold(lock);
      how();
    }
    changed.notify_all();
  }
};

struct World {
  explicit World(int size) : ports(size) {
    for (Port &port : ports)
      port.inbox.resize(size);
  }
  std::vector<Port> ports;
  std::mutex lock;
  RankFault fault;

  RankFault faultNow() {
    std::lock_guard<std::mutex> hold(lock);
    return fault;
  }
  void stop(int rank, const std::string &why) {
    {
      std::lock_guard<std::mutex> hold(lock);
      if (fault.rank >= 0)
        return;
      fault = {rank, why};
    }
    for (Port &port : ports) // who tested `fault` before it was set waits by now
      port.change([] {});
  }
};

class Threads final : public Transport {
public:
  Threads(std::shared_ptr<World> world, int rank, const Network &network)
      : Transport(rank, int(world->ports.size()), network), world(std::move(world)) {}

  bool borrows() const override { return true; }
  void finish() override { finished = true; }
  void abort(const std::string &why) noexcept override {
    if (!finished)
      world->stop(rank(), stoppedWith(why));
  }
  RankFault fault() override { return world->faultNow(); }
  std::string describe() const override { return "threads of one process"; }
  bool hasVirtualTime() const override { return true; }

  void exchange(const char *what, const std::vector<Message> &sends,
                const std::vector<Message> &receives, const Use *use) override {
    std::vector<std::pair<int, PostRef>> posts; // those that wait for their receivers
    for (const Message &m : sends) {
      const int64_t bytes = m.bytes();
      if (bytes == 0)
        continue;
      auto post = std::make_shared<Post>(m, bytes, what, arrival(bytes));
      if (clock.on) {
        post->begun = clock.now;
        post->virtualArrives = virtualArrival(bytes);
      }
      if (post->copy.empty())
        posts.push_back({m.peer, post});
      Port &port = world->ports[m.peer];
      port.change([&] { port.inbox[rank()].push_back(post); });
    }
    Taken taken;
    if (clock.on && !sends.empty())
      clock.now = std::max(clock.now, virtualLinkFree);
    try {
      receive(what, receives, use, taken);
      release(taken);
      Port &own = world->ports[rank()];
      std::unique_lock<std::mutex> hold(own.lock);
      for (auto &[peer, post] : posts)
        while (!post->done)
          wait(own, hold, what);
    } catch (...) {
      release(taken);
      withdraw(posts);
      throw;
    }
  }

private:
  using Taken = std::vector<std::pair<int, PostRef>>; ///< with the other rank

  void receive(const char *what, const std::vector<Message> &receives, const Use *use,
               Taken &taken) {
    std::vector<const void *> received;
    for (const Message &m : receives) {
      const int64_t bytes = m.bytes();
      if (bytes == 0)
        continue;
      const PostRef post = take(what, m.peer, taken);
      if (post->bytes != bytes || post->what != what)
        throw RunError("rank " + std::to_string(m.peer) + " sends " + std::to_string(post->bytes) +
                       " bytes in " + post->what + ", rank " + std::to_string(rank()) +
                       " waits for " + std::to_string(bytes) + " bytes in " + what +
                       "; all ranks must run the same program");
      if (!use) {
        copyPieces(post->pieces, m.pieces);
        release(taken);
      } else {
        received.push_back(inPlace(*post, m));
      }
    }
    if (use)
      (*use)(received.data());
  }

  /// The next message of a peer, once it has arrived.
  PostRef take(const char *what, int peer, Taken &taken) {
    Port &own = world->ports[rank()];
    std::unique_lock<std::mutex> hold(own.lock);
    auto &queue = own.inbox[peer];
    for (;;) {
      if (queue.empty()) {
        wait(own, hold, what);
      } else if (const auto at = queue.front()->arrives; at > Clock::now()) {
        check(what);
        own.changed.wait_until(hold, at);
      } else {
        taken.push_back({peer, queue.front()});
        queue.pop_front();
        clock.now = std::max(clock.now, taken.back().second->virtualArrives);
        clock.ready = std::max(clock.ready, taken.back().second->begun);
        return taken.back().second;
      }
    }
  }

  /// Where a message can be read as one piece of memory.
  static const void *inPlace(const Post &post, const Message &m) {
    if (post.pieces.size() == 1)
      return post.pieces[0].data;
    copyPieces(post.pieces, m.pieces);
    return m.pieces[0].data;
  }

  void release(Taken &taken) {
    for (auto &[peer, post] : taken)
      if (post->copy.empty())
        world->ports[peer].change([post = post.get()] { post->done = true; });
    taken.clear();
  }

  /// Takes back what nobody has begun to read, and waits for what somebody has.
  void withdraw(const Taken &posts) {
    for (auto &[peer, post] : posts) {
      Port &port = world->ports[peer];
      std::lock_guard<std::mutex> hold(port.lock);
      auto &queue = port.inbox[rank()];
      auto at = std::find(queue.begin(), queue.end(), post);
      if (at == queue.end())
        continue;
      queue.erase(at);
      post->done = true;
    }
    Port &own = world->ports[rank()];
    std::unique_lock<std::mutex> hold(own.lock);
    for (auto &[peer, post] : posts)
      own.changed.wait(hold, [&, post = post.get()] { return post->done; });
  }

  void check(const char *what) {
    if (const RankFault fault = world->faultNow(); fault.rank >= 0)
      throw LostError(fault.sentence(size(), what));
  }
  /// Until something changed. Sleeps at once: looking for a while first was five times
  /// slower where other work shared the cores.
  void wait(Port &own, std::unique_lock<std::mutex> &hold, const char *what) {
    check(what);
    own.changed.wait(hold);
  }

  std::shared_ptr<World> world;
  bool finished = false;
};
} // namespace

std::vector<std::unique_ptr<Transport>> connectThreads(int ranks, const Network &network) {
  auto world = std::make_shared<World>(ranks);
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank)
    transports.push_back(std::make_unique<Threads>(world, rank, network));
  return transports;
}

} // namespace moire::rt
