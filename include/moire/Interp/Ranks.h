//===- Ranks.h - Several ranks of one program in one process -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each rank is executed by a thread of its own. A collective is a meeting: all
// members of a group give a value and all get the values of all, in the order
// of their ranks; what the collective makes of them each computes by itself.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_RANKS_H
#define MOIRE_INTERP_RANKS_H

#include "dialects/dist/Dist.h"
#include "mlir/IR/Operation.h"
#include "moire/Interp/Clock.h"
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>

namespace moire::interp {

/// The meeting places of all ranks of a mesh.
class Meetings {
public:
  explicit Meetings(dist::MeshAttr mesh) : mesh(mesh) {}

  /// What the members of `rank`'s group over `axes` gave, ascending. Blocks until
  /// all have come. Fails where one of them is at another op, with an error
  /// there, and where another rank has failed, silently.
  mlir::FailureOr<std::vector<RuntimeValue>> meet(int64_t rank, mlir::Operation *op,
                                                  mlir::ArrayAttr axes, RuntimeValue mine);

  /// A message is told from others between the same ranks by what it is: what, path, stage,
  /// micro-batch.
  using Letter = std::tuple<std::string, int, int, int>;
  struct Mail {
    std::vector<RuntimeValue> values;
    double time = 0; ///< of a clock, at which it has come
  };
  /// Leaves values for another rank and goes on.
  void send(int64_t from, int64_t to, const Letter &letter, Mail mail);
  /// Waits for them. Fails, silently, where another rank has failed.
  mlir::FailureOr<Mail> receive(int64_t from, int64_t to, const Letter &letter);

  /// Calls fn(rank) for all ranks, each in a thread. One that fails ends the
  /// others at their next meeting.
  mlir::LogicalResult forAllRanks(std::function<mlir::LogicalResult(int64_t)> fn);

  dist::MeshAttr getMesh() const { return mesh; }

private:
  /// A place that the members of one group come to again and again.
  struct Place {
    mlir::Operation *op = nullptr;
    std::vector<RuntimeValue> values;
    int64_t came = 0, leaving = 0, round = 0;
  };

  void cancel();

  dist::MeshAttr mesh;
  std::mutex mutex;
  std::condition_variable changed;
  /// By axes and the group's first rank.
  std::map<std::pair<const void *, int64_t>, Place> places;
  /// By sender and receiver.
  std::map<std::tuple<int64_t, int64_t, Letter>, Mail> letters;
  bool cancelled = false;
};

/// What one rank knows of the others.
struct Membership {
  Meetings *meetings;
  int64_t rank;
  Clock *clock = nullptr; ///< null: no time is counted

  mlir::FailureOr<std::vector<RuntimeValue>> meet(mlir::Operation *op, mlir::ArrayAttr axes,
                                                  RuntimeValue mine) const {
    return meetings->meet(rank, op, axes, std::move(mine));
  }
  dist::MeshAttr mesh() const { return meetings->getMesh(); }
  /// This rank's number in its group, and how many it has.
  std::pair<int64_t, int64_t> place(mlir::ArrayAttr axes) const;
};

/// The sum of the tensors in their order, not yet rounded to the element type.
Tensor sumOf(llvm::ArrayRef<RuntimeValue> values);

/// What a rank holds of a tensor, and the way back: writes a rank's shard into the
/// whole. A null sharding is replicated.
Tensor shardOf(const Tensor &whole, dist::ShardingAttr sharding, dist::MeshAttr mesh, int64_t rank);
void insertShard(Tensor &whole, const Tensor &shard, dist::ShardingAttr sharding,
                 dist::MeshAttr mesh, int64_t rank);

} // namespace moire::interp

#endif // MOIRE_INTERP_RANKS_H
