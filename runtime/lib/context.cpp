//===- context.cpp - One rank's state -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/context.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

namespace moire::rt {

Context::Context(int threadCount)
    : threads(threadCount), device(createDevice(threadCount)) {
  outcome = DeviceBlock(sizeof(StepOutcome));
}

Context::Context(const Program &p, int threadCount, bool momentum) : Context(threadCount) {
  program = &p;
  const bool adamw = p.optimizer == OptimizerKind::adamw;
  const int64_t state = p.stateElements < 0 ? p.gradElements : p.stateElements;
  const int64_t first = adamw || momentum ? state * 4 : 0;
  const int64_t second = adamw ? state * 4 : 0;
  checkMemory(*this, p.paramElements * 4 + p.gradElements * 4 + first + second + p.arenaBytes +
                         p.tableBytes + p.shadowBytes + reserveBytes(p));
  params = DeviceBlock(p.paramElements * 4);
  grads = DeviceBlock(p.gradElements * 4);
  m = DeviceBlock(first);
  v = DeviceBlock(second);
  arena = DeviceBlock(p.arenaBytes);
  tables = DeviceBlock(p.tableBytes);
  shadows = DeviceBlock(p.shadowBytes);
  for (int64_t i = 0; i < p.numTables; ++i)
    upload(*this, tables.data() + p.tables[i].offset, p.tables[i].data, p.tables[i].bytes);
  inputStorage = std::make_unique<const void *[]>(2 * p.numInputs + 1);
  inputs = inputStorage.get();
  this->second.inputs = inputs + p.numInputs;
  reserve(*this);
}

Context::~Context() = default;

void *Context::scratch(int64_t bytes) {
  DeviceBlock &block = scratchBlocks[inJob];
  if (bytes > block.size())
    block = DeviceBlock(bytes);
  return block.data();
}

void runForward(Context &ctx) {
  if (ctx.first() && ctx.program->prepare)
    ctx.program->prepare(ctx);
  ctx.last = false;
  ctx.program->forward(ctx);
}

void node(Context &ctx, const char *name) {
  if (ctx.onNode)
    ctx.onNode(name);
}

} // namespace moire::rt
