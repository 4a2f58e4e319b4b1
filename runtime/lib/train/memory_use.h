//===- memory_use.h - How much of its memory a rank really takes ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Before each step the arena is filled with a pattern, and looked at after it: what has
// another value was written. Steps have two patterns in turn, since a step may write what
// equals one of them. Bits of one are NaNs, which a value that is read without having been
// written would carry into the loss.
//
//     {"ranks": [{"rank": 0, "pp": 0, "micro_batches": 4, "steps": 2, "arena": 184064,
//                 "temporaries": 14784, "in_flight": 3,
//                 "stages": [{"stage": 0, "slots": 2, "slot": 58048, "in_flight": 2}],
//                 "inboxes": 3, "inbox": 2560, "messages_waiting": 2}]}
//
// A rank has one entry for each number of micro-batches (of a round) that some step had, and
// says how many steps had it; where there are several sequence lengths one for each of them, too,
// with "seq". arena is what was allocated. temporaries, slot and inbox are bytes
// up to the last one that was touched, of the largest where there are several; slots and inboxes
// are numbers of those that were touched; in_flight and messages_waiting were counted: each in
// the step where it was most.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MEMORY_USE_H
#define MOIRE_RT_MEMORY_USE_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"
#include "train/pipeline.h"

#include <cstdio>
#include <map>

namespace moire::rt {

class MemoryUse {
public:
  /// Throws InputError where the file cannot be written. Rank 0 writes it, the others (comm's)
  /// send it theirs; comm: null for the only rank. ctx: of programOfRank().
  MemoryUse(const std::string &path, Context &ctx, Comm *comm);
  ~MemoryUse();

  /// Before a step, and after it, which had so many micro-batches in each round. pipeline: null
  /// where there is none.
  void fill(int64_t step);
  void look(int64_t step, int64_t microBatches, const Pipeline *pipeline);
  /// All ranks together, after the last step.
  void write();

private:
  /// Bytes of the arena that have one purpose.
  struct Region {
    int64_t begin, end;
    int64_t touched = 0; ///< in the last step: from `begin` up to the last byte that was written
  };
  /// The most of steps that had equally many micro-batches.
  struct Taken {
    struct Stage {
      int64_t slots = 0, slot = 0, inFlight = 0;
    };
    int64_t steps = 0, temporaries = 0, inFlight = 0, inboxes = 0, inbox = 0, waiting = 0;
    std::vector<Stage> stages; ///< empty: there is no pipeline
  };
  static int pattern(int64_t step) { return step % 2 ? 0xff : 0xa5; }
  /// How many of regions [begin, end) were touched, and the most bytes of one.
  std::pair<int64_t, int64_t> touchedOf(size_t begin, size_t end) const;
  void add(Taken &taken, const Pipeline *pipeline) const;
  void findRegions();
  using Key = std::pair<const Program *, int64_t>; ///< a length and micro-batches
  std::string textOf(const Key &key, const Taken &taken) const;

  const std::string path;
  Context &ctx;
  Comm *comm;
  std::FILE *file = nullptr;
  std::vector<Region> regions; ///< temporaries, slots by held stage, inboxes
  std::map<Key, Taken> taken;
};

} // namespace moire::rt

#endif // MOIRE_RT_MEMORY_USE_H
