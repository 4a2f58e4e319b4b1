//===- mpi.cpp - Ranks that mpirun started --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One request per message. Ranks that die are mpirun's to notice: it ends all others.
//
//===----------------------------------------------------------------------===//

#include "comm/mpi_library.h"
#include "comm/pulse.h"
#include "moire/rt/comm.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <sched.h>
#include <thread>

namespace moire::rt {

namespace {
constexpr int kTag = 77;
constexpr int64_t kLargest = 1 << 30; ///< of a message: counts are ints

/// A part of a message that is under way.
struct Request {
  MpiLibrary::Handle handle;
  bool out;
  int peer;
  int64_t bytes;
  Transport::Clock::time_point start = {};
  char *data = nullptr;
  bool started = false, done = false;
};

class Mpi final : public Transport {
public:
  Mpi(const MpiLibrary &mpi, int rank, int size, double timeout, const Network &network)
      : Transport(rank, size, network), mpi(mpi), pulse(mpi, lock, rank, size, timeout) {}

  std::string describe() const override { return "processes over MPI"; }
  void finish() override {
    pulse.finish();
    finished = true;
    mpi.finalize();
  }
  void abort(const std::string &why) noexcept override {
    if (finished)
      return;
    std::fprintf(stderr, "error: %s\n", why.c_str()); // nobody will say it after this
    std::fflush(stderr);
    std::lock_guard<std::mutex> hold(lock);
    mpi.abort(mpi.world, 2);
  }

  void exchange(const char *what, const std::vector<Message> &sends,
                const std::vector<Message> &receives, const Use *use) override {
    std::vector<Request> requests;
    std::vector<std::vector<char>> packed; // messages of several pieces
    packed.reserve(sends.size() + receives.size());
    std::vector<std::pair<const Message *, char *>> unpack;
    for (const Message &m : receives)
      if (const int64_t bytes = m.bytes()) {
        char *data = whole(m, bytes, packed);
        if (data != m.pieces[0].data)
          unpack.push_back({&m, data});
        add(requests, m.peer, data, bytes, /*out=*/false, {});
      }
    for (const Message &m : sends)
      if (const int64_t bytes = m.bytes()) {
        char *data = whole(m, bytes, packed);
        if (data != m.pieces[0].data)
          copyPieces(m.pieces, {{data, bytes}});
        add(requests, m.peer, data, bytes, /*out=*/true, arrival(bytes));
      }
    pulse.enter(what);
    complete(what, requests);
    pulse.leave();
    for (auto [m, data] : unpack)
      copyPieces({{data, m->bytes()}}, m->pieces);
    if (!use)
      return;
    std::vector<const void *> received;
    for (const Message &m : receives)
      if (m.bytes() > 0)
        received.push_back(m.pieces[0].data);
    (*use)(received.data());
  }

private:
  /// Where a message is one piece of memory.
  static char *whole(const Message &m, int64_t bytes, std::vector<std::vector<char>> &packed) {
    if (m.pieces.size() == 1)
      return static_cast<char *>(m.pieces[0].data);
    packed.emplace_back(bytes);
    return packed.back().data();
  }

  static void add(std::vector<Request> &requests, int peer, char *data, int64_t bytes, bool out,
                  Clock::time_point start) {
    for (int64_t at = 0; at < bytes; at += kLargest)
      requests.push_back({nullptr, out, peer, std::min(kLargest, bytes - at), start, data + at});
  }

  void complete(const char *what, std::vector<Request> &requests) {
    // Many ranks share few cores where it is tested: who waits for long sleeps.
    int idle = 0;
    for (bool open = true; open;) {
      open = false;
      bool progress = false;
      const auto now = Clock::now();
      std::unique_lock<std::mutex> hold(lock);
      for (Request &r : requests) {
        if (r.done)
          continue;
        open = true;
        if (!r.started && r.start <= now) {
          const int count = int(r.bytes);
          r.out ? mpi.send(r.data, count, mpi.byte, r.peer, kTag, mpi.world, &r.handle)
                : mpi.receive(r.data, count, mpi.byte, r.peer, kTag, mpi.world, &r.handle);
          r.started = true;
        }
        if (!r.started)
          continue;
        int flag = 0;
        MpiLibrary::Status status = {};
        mpi.test(&r.handle, &flag, &status);
        if (!flag)
          continue;
        r.done = progress = true;
        if (!r.out && status.bytes != size_t(r.bytes))
          throw RunError("rank " + std::to_string(r.peer) + " sends " +
                         std::to_string(status.bytes) + " bytes, rank " + std::to_string(rank()) +
                         " waits for " + std::to_string(r.bytes) + " bytes in " + what +
                         "; all ranks must run the same program");
      }
      hold.unlock();
      idle = progress ? 0 : idle + 1;
      if (idle > 1000)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      else if (idle > 10)
        sched_yield();
    }
  }

  const MpiLibrary &mpi;
  std::mutex lock; ///< around calls of MPI
  Pulse pulse;
  bool finished = false;
};
} // namespace

std::unique_ptr<Transport> connectMpi(int size, double timeout, const Network &network) {
  static const MpiLibrary mpi; // MPI itself can be started once in a process
  int provided = 0, rank = 0, ranks = 0;
  mpi.initThread(nullptr, nullptr, MpiLibrary::kSerialized, &provided);
  mpi.rankOf(mpi.world, &rank);
  mpi.sizeOf(mpi.world, &ranks);
  if (ranks != size)
    throw RunError("mpirun started " + std::to_string(size) +
                   " ranks, the library that was loaded says " + std::to_string(ranks) +
                   "; use the mpirun and the libmpi.so of one Open MPI");
  if (provided < MpiLibrary::kSerialized)
    throw RunError("Open MPI gives threads of level " + std::to_string(provided) +
                   ", the trainer needs MPI_THREAD_SERIALIZED (2); use one that was built with "
                   "threads, or start the ranks over TCP by utils/launch.sh, srun or torchrun");
  return std::make_unique<Mpi>(mpi, rank, size, timeout, network);
}

} // namespace moire::rt
