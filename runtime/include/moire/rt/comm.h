//===- comm.h - Many ranks: who they are, how bytes and sums move ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Three layers. A Transport moves bytes between two ranks: threads of one process,
// processes over TCP, MPI. A Group says which ranks take part. Comm does collectives
// over a group, written once over any transport.
//
// Every reduction adds the members' values in ascending order of rank, whatever
// arrives first, so that all transports and all runs give the same bits.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_H
#define MOIRE_RT_COMM_H

#include "moire/rt/collectives.h"
#include "moire/rt/memory.h"
#include "moire/rt/program.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

//===----------------------------------------------------------------------===//
// Moving bytes
//===----------------------------------------------------------------------===//

struct Piece {
  void *data; ///< only read where it is sent
  int64_t bytes;
};

/// Copies the bytes of pieces, in order, into other ones of as many bytes.
void copyPieces(const std::vector<Piece> &from, const std::vector<Piece> &to);

/// What one exchange sends to a peer or receives from it: the pieces' bytes in
/// order. Both sides must mean the same number of bytes, not the same pieces.
struct Message {
  int peer;
  std::vector<Piece> pieces;
  int64_t bytes() const {
    int64_t sum = 0;
    for (const Piece &p : pieces)
      sum += p.bytes;
    return sum;
  }
};

/// A network slower than the one at hand: a rank's messages leave one after another
/// through one link of `bandwidth`, and each arrives `latency` after its last byte
/// left.
struct Network {
  double latency = 0;   ///< seconds
  double bandwidth = 0; ///< bytes a second; 0: no limit
  bool given() const { return latency > 0 || bandwidth > 0; }
};

/// What became of a rank.
struct RankFault {
  int rank = -1; ///< -1: nothing
  std::string why;
  /// "rank 2 of 4 is lost in all_to_all of node_sum_2: its connection closed".
  std::string sentence(int ranks, const std::string &what) const;
};

/// Moves bytes between this rank and the others. Used by one thread at a time.
///
/// A rank that dies or stops answering makes every call throw a LostError, whose
/// sentence names that rank, `what` and why.
class Transport {
public:
  using Clock = std::chrono::steady_clock;
  /// Gets one pointer per message received, in the order given.
  using Use = std::function<void(const void *const *received)>;

  Transport(int rank, int size, const Network &network)
      : ownRank(rank), ranks(size), network(network) {}
  virtual ~Transport() = default;
  Transport(const Transport &) = delete;

  int rank() const { return ownRank; }
  int size() const { return ranks; }

  /// Starts all sends and receives at once and returns when all are done, so that
  /// ranks whose calls match up can never wait for each other in a circle. At most one
  /// message per peer and direction, none to the own rank; both ends skip a message
  /// of no bytes. Between two ranks messages arrive in the order of the calls.
  /// what: the operation and its ONNX node, e.g. "all_to_all of node_sum_2".
  /// use: called once when all is received. Each receive then has one piece, which is
  /// room that the transport need not fill: see borrows().
  virtual void exchange(const char *what, const std::vector<Message> &sends,
                        const std::vector<Message> &receives, const Use *use = nullptr) = 0;
  /// Whether `use` sees the sender's own memory, so that receives need no room.
  virtual bool borrows() const { return false; }

  /// Leaves in good order, when all ranks do.
  virtual void finish() = 0;
  /// Tells the others that this rank stops, and why: they throw. Nothing after finish().
  virtual void abort(const std::string &why) noexcept = 0;
  /// The first rank that is known to be lost. Of any thread.
  virtual RankFault fault() { return {}; }
  /// E.g. "threads of one process".
  virtual std::string describe() const = 0;
  /// Whether exchanges can be timed by `clock`: messages then carry stamps.
  virtual bool hasVirtualTime() const { return false; }

  /// Virtual time, in seconds: messages do not wait for the injected network; what it
  /// would take is counted.
  struct {
    bool on = false;
    double now = 0;   ///< of the exchange under way: set before it, later after it
    double ready = 0; ///< when the last of those that send to this rank had begun, too
  } clock;

protected:
  /// When a message of the injected network that is sent now has arrived.
  Clock::time_point arrival(int64_t bytes);
  /// The same in virtual time, for one that is sent at clock.now.
  double virtualArrival(int64_t bytes);
  /// Virtual time at which this rank's last message has left.
  double virtualLinkFree = 0;

private:
  int ownRank, ranks;
  Network network;
  Clock::time_point linkFree = {};
};

/// Another rank is lost: what it said itself, if anything, is the cause.
struct LostError : RunError {
  using RunError::RunError;
};

/// `it stopped with "…"`: why a rank that called abort() is lost.
std::string stoppedWith(const std::string &error);

/// One transport per rank for threads of this process. An exchange copies once, from
/// the sender's memory. The process dies as a whole, so that what can be lost is a
/// rank that left by an exception: it calls abort().
std::vector<std::unique_ptr<Transport>> connectThreads(int ranks, const Network &network = {});

struct TcpOptions {
  int rank = 0, size = 1;
  std::string host = "127.0.0.1"; ///< where rank 0 listens
  int port = 29500;
  double timeout = 10; ///< seconds, see docs/ranks.md
  Network network;
};
/// Meets the other ranks at host:port, where rank 0 listens, then connects each with
/// each: one connection for data, one for signs of life. Throws RunError where not all
/// came in time.
std::unique_ptr<Transport> connectTcp(const TcpOptions &options);

/// A rank's transports where a thread beside the one that computes has one, too.
struct Links {
  std::unique_ptr<Transport> collectives;
  std::unique_ptr<Transport> stages; ///< messages between a pipeline's stages
};
/// The same with connections for both. They share the signs of life: finish() of
/// collectives is for both.
Links connectTcpTwice(const TcpOptions &options);

class Comm;
/// As connectTcp() for ranks that are connected by `comm` already; host may be empty, rank 0
/// then finds its own address; port, rank and size are not used.
std::unique_ptr<Transport> connectTcpThrough(Comm &comm, TcpOptions options);

/// The ranks that mpirun started. Throws RunError where Open MPI's library cannot be
/// loaded or says that its ranks are not `size`.
std::unique_ptr<Transport> connectMpi(int size, double timeout = 10, const Network &network = {});

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

/// Ranks that take part in a collective, ascending.
struct Group {
  std::vector<int> members;
  int index = 0; ///< this rank's place among members
  int size() const { return int(members.size()); }
};

class Mesh {
public:
  struct Axis {
    std::string name;
    int64_t size;
  };
  Mesh() = default;
  explicit Mesh(std::vector<Axis> axes) : axes(std::move(axes)) {}
  explicit Mesh(const Program &program);

  int64_t ranks() const;
  int64_t numAxes() const { return int64_t(axes.size()); }
  int64_t size(int axis) const { return axes[axis].size; }
  /// A rank's coordinate on an axis.
  int64_t coordinate(int64_t rank, int axis) const;
  /// The axes among `names` ("dp,ep"), those that the mesh has not left out.
  std::vector<int> axesNamed(const std::string &names) const;
  /// The ranks that differ from `rank` in these axes only.
  Group group(int64_t rank, const std::vector<int> &axes) const;
  /// E.g. "dp=2,ep=4".
  std::string text() const;

private:
  std::vector<Axis> axes;
};

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

/// A collective that was started: Comm::wait.
struct Ticket {
  int64_t number = 0;            ///< in the queue
  std::shared_ptr<double> end;   ///< virtual time at which it was done
};

/// Where a rank's time in collectives went, in seconds.
struct CommTimes {
  double moving = 0;  ///< in exchanges, waiting for others included; virtual: from when all are there
  double exposed = 0; ///< of the thread that computes: it waits for a collective
};

struct CommOptions {
  bool virtualTime = false;
  /// Seconds in which the thread that computes has to hear of an error of the queue; 0: any.
  double patience = 0;
};

class CommQueue;    // lib/comm/queue.h
struct VirtualTime; // lib/comm/virtual_time.h

/// A rank's collectives. All members of a group must call the same ones in the same
/// order. Buffers lie in the host's memory; `to` may be `from` or must not overlap it.
/// T: float, double, or bf16, which is added in float and rounded once.
class Comm {
public:
  Comm(std::unique_ptr<Transport> transport, Mesh mesh,
       const std::vector<std::vector<int>> &groups = {}, const CommOptions &options = {});
  ~Comm();

  const Mesh mesh;
  int rank() const { return transport->rank(); }
  int size() const { return transport->size(); }
  int64_t axisIndex(int axis) const { return mesh.coordinate(rank(), axis); }
  /// Of Program::groups.
  const Group &group(int index) const { return table[index]; }
  /// The ranks that differ in these axes only, e.g. "dp,ep".
  Group groupOver(const std::string &axes) const {
    return mesh.group(rank(), mesh.axesNamed(axes));
  }
  Transport &link() { return *transport; }

  /// Puts `job`, which calls collectives, at the end of this rank's queue. A thread of
  /// the rank's own does one job after another. A collective that is called outside of
  /// jobs first waits until the queue is empty.
  Ticket start(std::function<void()> job);
  /// Until the job, and so all before it, is done. Throws what one threw.
  void wait(const Ticket &ticket);
  /// After an error: tells the others why and lets the job under way end, so that what
  /// jobs work on can go.
  void abandon(const std::string &why) noexcept;

  /// Hears of each exchange, from the thread that does it, when it is over: when it began and
  /// ended, in seconds of Transport::Clock. Not where time is virtual.
  std::function<void(const char *what, double begin, double end)> observer;

  /// What was spent so far.
  CommTimes times() const { return spent; }
  /// Virtual time of the thread that computes, where time is virtual.
  double virtualNow();

  /// to[i] = Σ over members of from[i].
  template <typename T>
  void allReduce(const Group &group, const char *what, const T *from, T *to, int64_t n,
                 Reduction reduce = Reduction::sum);
  /// from [outer, members · dim, inner] → to [outer, dim, inner], the sum's part that is
  /// this member's. Not in place.
  template <typename T>
  void reduceScatter(const Group &group, const char *what, const T *from, T *to, int64_t outer,
                     int64_t dim, int64_t inner, Reduction reduce = Reduction::sum);
  /// In data [n] the sum of member i's piece, [i · piece, + piece) cut at n, at member i;
  /// elsewhere it stays as it was.
  template <typename T>
  void reducePieces(const Group &group, const char *what, T *data, int64_t piece, int64_t n);
  /// from [outer, rowBytes] → to [outer, members, rowBytes]. Not in place.
  void allGather(const Group &group, const char *what, const void *from, void *to, int64_t outer,
                 int64_t rowBytes);
  /// Member `root`'s data to all.
  void broadcast(const Group &group, const char *what, void *data, int64_t bytes, int root = 0);
  /// Each member's data (sizes[i] bytes) one after another to member `root`; elsewhere
  /// `to` is not used.
  void gather(const Group &group, const char *what, const void *from, void *to,
              const std::vector<int64_t> &sizes, int root = 0);
  /// from [members, bytes] → to [members, bytes]: block i of member j becomes block j of
  /// member i. Not in place.
  void allToAll(const Group &group, const char *what, const void *from, void *to, int64_t bytes);
  /// The same with what goes to and comes from each member in pieces, [members][…]. The
  /// number of bytes that one sends is the one that the other expects.
  using Pieces = std::vector<std::vector<Piece>>;
  void allToAllV(const Group &group, const char *what, const Pieces &from, const Pieces &to);
  void barrier(const Group &group, const char *what);
  /// What all of these are made of: the transport's exchange, with its time counted.
  void exchange(const char *what, const std::vector<Message> &sends,
                const std::vector<Message> &receives, const Transport::Use *use = nullptr);

private:
  template <typename T>
  void reducePieces(const Group &group, const char *what, const T *from, T *to, int64_t stride,
                    int64_t n, Reduction reduce);
  /// Room that stays; grows to what the largest call needs. Two kinds: of messages that
  /// come, and of values packed for those that go.
  static char *grow(Block &room, int64_t bytes);

  /// A collective's turn at the transport: outside of the queue's jobs, when it is empty.
  class Turn;

  std::unique_ptr<Transport> transport;
  CommTimes spent;
  std::vector<Group> table;
  Block incomingRoom, packedRoom;
  int depth = 0; ///< of turns of the thread that computes
  std::unique_ptr<VirtualTime> time;
  std::unique_ptr<CommQueue> queue; ///< last: its thread uses all of the above
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_H
