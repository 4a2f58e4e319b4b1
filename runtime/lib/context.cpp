//===- context.cpp - One rank's state -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/context.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

#include <algorithm>

namespace moire::rt {

Context::Context(int threadCount)
    : threads(threadCount), device(createDevice(threadCount)) {
  outcome = DeviceBlock(sizeof(StepOutcome));
}

Context::Context(const Program &p, int threadCount, bool momentum)
    : Context(std::vector<const Program *>{&p}, threadCount, momentum) {}

Context::Context(std::vector<const Program *> programs, int threadCount, bool momentum)
    : Context(threadCount) {
  lengths = std::move(programs);
  program = lengths.back();
  const Program &p = *program; // parameters lie alike in all of them
  int64_t arenaBytes = 0, shadowBytes = 0, tableBytes = 0;
  for (const Program *length : lengths) {
    arenaBytes = std::max(arenaBytes, length->arenaBytes);
    shadowBytes = std::max(shadowBytes, length->shadowBytes);
    tableBytes += length->tableBytes;
  }
  const bool adamw = p.optimizer == OptimizerKind::adamw;
  const int64_t state = p.stateElements < 0 ? p.gradElements : p.stateElements;
  const int64_t first = adamw || momentum ? state * 4 : 0;
  const int64_t second = adamw ? state * 4 : 0;
  checkMemory(*this, p.paramElements * 4 + p.gradElements * 4 + first + second + arenaBytes +
                         tableBytes + shadowBytes + reserveBytes(lengths));
  params = DeviceBlock(p.paramElements * 4);
  grads = DeviceBlock(p.gradElements * 4);
  m = DeviceBlock(first);
  v = DeviceBlock(second);
  arena = DeviceBlock(arenaBytes);
  shadows = DeviceBlock(shadowBytes);
  for (const Program *length : lengths) {
    DeviceBlock &block = otherTables.emplace_back(length->tableBytes);
    for (int64_t i = 0; i < length->numTables; ++i)
      upload(*this, block.data() + length->tables[i].offset, length->tables[i].data,
             length->tables[i].bytes);
  }
  tables = std::move(otherTables.back());
  inputStorage = std::make_unique<const void *[]>(2 * p.numInputs + 1);
  inputs = inputStorage.get();
  this->second.inputs = inputs + p.numInputs;
  reserve(*this);
}

void Context::use(const Program &length) {
  auto placeOf = [this](const Program *of) -> DeviceBlock & {
    return otherTables[std::find(lengths.begin(), lengths.end(), of) - lengths.begin()];
  };
  if (program == &length)
    return;
  placeOf(program) = std::move(tables);
  tables = std::move(placeOf(&length));
  program = &length;
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
