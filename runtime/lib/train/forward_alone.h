//===- forward_alone.h - While nothing is trained -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_FORWARD_ALONE_H
#define MOIRE_RT_FORWARD_ALONE_H

#include "moire/rt/context.h"

namespace moire::rt {

/// While it lives, micro-steps leave out what serves training alone.
class ForwardAlone {
public:
  explicit ForwardAlone(Context &ctx) : ctx(ctx), updates(ctx.updates) {
    ctx.trains = false;
    ctx.updates = 0;
  }
  ~ForwardAlone() {
    ctx.trains = true;
    ctx.updates = updates;
  }
  ForwardAlone(const ForwardAlone &) = delete;

private:
  Context &ctx;
  const uint64_t updates;
};

} // namespace moire::rt

#endif // MOIRE_RT_FORWARD_ALONE_H
