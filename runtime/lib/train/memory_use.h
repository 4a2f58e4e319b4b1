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
//     {"ranks": [{"rank": 0, "pp": 0, "arena": 184064, "temporaries": 14784, "in_flight": 3,
//                 "stages": [{"stage": 0, "slots": 2, "slot": 58048, "in_flight": 2}],
//                 "inboxes": 3, "inbox": 2560, "messages_waiting": 2}]}
//
// arena is what was allocated. temporaries, slot and inbox are bytes up to the last one that
// was touched, of the largest where there are several; slots and inboxes are numbers of those
// that were touched; in_flight and messages_waiting were counted.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MEMORY_USE_H
#define MOIRE_RT_MEMORY_USE_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"
#include "train/pipeline.h"

#include <cstdio>

namespace moire::rt {

class MemoryUse {
public:
  /// Throws InputError where the file cannot be written. Rank 0 writes it, the others (comm's)
  /// send it theirs; comm: null for the only rank. ctx: of programOfRank().
  MemoryUse(const std::string &path, Context &ctx, Comm *comm);
  ~MemoryUse();

  /// Before a step, and after it.
  void fill(int64_t step);
  void look(int64_t step);
  /// All ranks together, after the last step. pipeline: null where there is none.
  void write(const Pipeline *pipeline);

private:
  /// Bytes of the arena that have one purpose.
  struct Region {
    int64_t begin, end;
    int64_t touched = 0; ///< from `begin` up to the last byte that was written
  };
  static int pattern(int64_t step) { return step % 2 ? 0xff : 0xa5; }
  /// How many of regions [begin, end) were touched, and the most bytes of one.
  std::pair<int64_t, int64_t> touchedOf(size_t begin, size_t end) const;
  std::string textOf(const Pipeline *pipeline) const;

  const std::string path;
  Context &ctx;
  Comm *comm;
  std::FILE *file = nullptr;
  std::vector<Region> regions; ///< temporaries, slots by held stage, inboxes
};

} // namespace moire::rt

#endif // MOIRE_RT_MEMORY_USE_H
