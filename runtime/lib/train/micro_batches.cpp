//===- micro_batches.cpp - The micro-batches of a step --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/micro_batches.h"
#include "moire/rt/device.h"

#include <algorithm>

namespace moire::rt {

void MicroBatches::begin(const MicroBatch *ofStep) {
  batches = ofStep;
  partLabels.clear();
}

void MicroBatches::setInputs(TaskState &task, int64_t micro) {
  const Program &p = *ctx.program;
  for (int64_t i = 0; i < p.numInputs; ++i) {
    const Block &block = batches[micro].blocks[i];
    if (p.inputs[i].role == Role::scale)
      setInput(ctx, task, i, &ctx.scale, sizeof ctx.scale);
    else
      setInput(ctx, task, i, block.data(), block.size());
  }
}

void MicroBatches::run(int64_t micro, bool last) {
  ctx.microBatch = micro;
  setInputs(ctx, micro);
  ctx.part = {};
  const int64_t before = partCount;
  runRows(0, ctx.program->batch, last);
  overflowCount += partCount > before + 1;
}

/// Rows [begin, end) of the micro-batch; where they find no room at the experts, which
/// all ranks of these experts find, first one half of them and then the other.
void MicroBatches::runRows(int64_t begin, int64_t end, bool last) {
  if (end - begin < ctx.program->batch)
    selectRows(begin, end);
  const bool counts = experts && ctx.trains;
  if (counts && ctx.comm)
    experts->mark();
  try {
    if (ctx.trains)
      runMicroStep(ctx, last);
    else
      runForward(ctx);
    ctx.part.isFirst = false;
    partCount += ctx.trains;
  } catch (const ExpertOverflow &e) {
    if (counts)
      experts->backToMark();
    if (end - begin <= 1)
      throw RunError(std::string(e.what()) + ", with one row of the micro-batch; compile with "
                                             "a larger --expert-slots");
    const int64_t middle = (begin + end) / 2;
    runRows(begin, middle, false);
    runRows(middle, end, last);
  }
}

/// Tokens of other rows go to no expert, and their labels do not count.
void MicroBatches::selectRows(int64_t begin, int64_t end) {
  const Program &p = *ctx.program;
  ctx.part.begin = begin;
  ctx.part.end = end;
  ctx.part.rows = p.batch;
  for (int64_t i = 0; i < p.numInputs; ++i) {
    if (p.inputs[i].role != Role::labels)
      continue;
    const Block &block = batches[ctx.microBatch].blocks[i];
    const int64_t labels = block.size() / int64_t(sizeof(int64_t)), perRow = labels / p.batch;
    const auto *from = reinterpret_cast<const int64_t *>(block.data());
    std::vector<int64_t> &own = partLabels.emplace_back(labels, -100);
    std::copy(from + begin * perRow, from + end * perRow, own.begin() + begin * perRow);
    setInput(ctx, ctx, i, own.data(), block.size());
  }
}

} // namespace moire::rt
