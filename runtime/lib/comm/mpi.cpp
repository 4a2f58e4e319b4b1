//===- mpi.cpp - Ranks that mpirun started ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Open MPI's library is loaded when mpirun started the process and not linked, so that
// one trainer runs with and without it. What is declared here is Open MPI's binary
// interface, the same in its versions 4 and 5 (libmpi.so.40): handles are pointers to
// objects that the library exports.
//
// Ranks that die are mpirun's to notice: it ends all others.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/comm.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <sched.h>
#include <thread>

namespace moire::rt {

namespace {
using Handle = void *;
struct Status {
  int source, tag, error, cancelled;
  size_t bytes;
};
constexpr int kFunneled = 1, kTag = 77;
constexpr int64_t kLargest = 1 << 30; ///< of a message: counts are ints

struct Library {
  int (*initThread)(int *, char ***, int, int *);
  int (*finalize)();
  int (*abort)(Handle, int);
  int (*rankOf)(Handle, int *);
  int (*sizeOf)(Handle, int *);
  int (*send)(const void *, int, Handle, int, int, Handle, Handle *);
  int (*receive)(void *, int, Handle, int, int, Handle, Handle *);
  int (*test)(Handle *, int *, Status *);
  Handle world, byte;

  Library() {
    void *library = nullptr;
    for (const char *name : {"libmpi.so.40", "libmpi.so"})
      if (!library)
        library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    if (!library)
      throw RunError(std::string("mpirun started this process, but Open MPI's library cannot be "
                                 "loaded (") + dlerror() + "); put it where the loader looks");
    auto find = [&](const char *symbol, auto &to) {
      void *address = dlsym(library, symbol);
      if (!address)
        throw RunError(std::string("libmpi.so has no ") + symbol +
                       "; use the library of the Open MPI whose mpirun started this process");
      std::memcpy(&to, &address, sizeof to);
    };
    find("MPI_Init_thread", initThread);
    find("MPI_Finalize", finalize);
    find("MPI_Abort", abort);
    find("MPI_Comm_rank", rankOf);
    find("MPI_Comm_size", sizeOf);
    find("MPI_Isend", send);
    find("MPI_Irecv", receive);
    find("MPI_Test", test);
    find("ompi_mpi_comm_world", world);
    find("ompi_mpi_byte", byte);
  }
};

/// A part of a message that is under way.
struct Request {
  Handle handle;
  bool out;
  int peer;
  int64_t bytes;
  Transport::Clock::time_point start = {};
  char *data = nullptr;
  bool started = false, done = false;
};

class Mpi final : public Transport {
public:
  Mpi(const Library &mpi, int rank, int size, const Network &network)
      : Transport(rank, size, network), mpi(mpi) {}

  std::string describe() const override { return "processes over MPI"; }
  void finish() override {
    finished = true;
    mpi.finalize();
  }
  void abort(const std::string &why) noexcept override {
    if (finished)
      return;
    std::fprintf(stderr, "error: %s\n", why.c_str()); // nobody will say it after this
    std::fflush(stderr);
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
    complete(what, requests);
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
      requests.push_back(
          {nullptr, out, peer, std::min(kLargest, bytes - at), start, data + at});
  }

  void complete(const char *what, std::vector<Request> &requests) {
    // Many ranks share few cores where it is tested: who waits for long sleeps.
    int idle = 0;
    for (bool open = true; open;) {
      open = false;
      bool progress = false;
      const auto now = Clock::now();
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
        Status status = {};
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
      idle = progress ? 0 : idle + 1;
      if (idle > 1000)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      else if (idle > 10)
        sched_yield();
    }
  }

  const Library &mpi;
  bool finished = false;
};
} // namespace

std::unique_ptr<Transport> connectMpi(int size, const Network &network) {
  static const Library mpi; // MPI itself can be started once in a process
  int provided = 0, rank = 0, ranks = 0;
  mpi.initThread(nullptr, nullptr, kFunneled, &provided);
  mpi.rankOf(mpi.world, &rank);
  mpi.sizeOf(mpi.world, &ranks);
  if (ranks != size)
    throw RunError("mpirun started " + std::to_string(size) + " ranks, the library that was "
                   "loaded says " + std::to_string(ranks) +
                   "; use the mpirun and the libmpi.so of one Open MPI");
  return std::make_unique<Mpi>(mpi, rank, size, network);
}

} // namespace moire::rt
