//===- MarkGroups.cpp - Pass mark-groups ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Memory.h"
#include "dialects/pipe/UpdateGroups.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_MARKGROUPS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {
/// Who reads what a statement writes, in the end.
struct Need {
  bool always = false; ///< the loss, other stages, or parameters that every step trains
  uint64_t groups = 0; ///< bit i: the gradient of group i

  void operator|=(const Need &other) {
    always |= other.always;
    groups |= other.groups;
  }
};

struct MarkGroups : program::impl::MarkGroupsBase<MarkGroups> {
  void runOnOperation() override {
    names = pipe::updateGroupsOf(getOperation());
    if (names.empty())
      return;
    for (auto parameter : getOperation().getOps<pipe::ParameterOp>()) {
      Need &need = ofParameter[parameter.getSymNameAttr()];
      need.always = !parameter.getGroup();
      if (parameter.getGroup())
        need.groups = uint64_t(1) << (llvm::find(names, *parameter.getGroup()) - names.begin());
    }
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.getBody().empty() && !func.getBody().front().getOps<exec::GradOp>().empty())
        markGroups(func.getBody().front());
  }

  void markGroups(Block &block) {
    // 1. What is read behind the block.
    llvm::DenseMap<Memory, Need> needed;
    for (Operation &op : block)
      if (auto grad = dyn_cast<exec::GradOp>(op))
        needed[memoryOf(grad)] = ofParameter.lookup(grad.getParameterAttr().getAttr());
      else if (auto kept = dyn_cast<exec::KeptOp>(op))
        needed[memoryOf(kept)].always = true;
    // 2. From there upwards. Memory that is written twice stays needed above both: a statement
    // that is left out leaves what was there.
    llvm::DenseMap<int64_t, Need> asyncs;
    SmallVector<exec::WaitOp> waits;
    for (Operation &op : llvm::reverse(block)) {
      if (isPure(&op) || op.hasTrait<OpTrait::IsTerminator>())
        continue;
      if (auto wait = dyn_cast<exec::WaitOp>(op)) {
        waits.push_back(wait);
        continue;
      }
      const Touched touched = touchedBy(op);
      Need need;
      if (auto start = dyn_cast<exec::StartReduceOp>(op))
        for (auto name : start.getParameters().getAsRange<FlatSymbolRefAttr>())
          need |= ofParameter.lookup(name.getAttr());
      else // what tells of no place that it writes may do anything
        need.always = isa<exec::LossOp>(op) || touched.writes.empty();
      for (const Memory &memory : touched.writes)
        need |= needed.lookup(memory);
      for (const Memory &memory : touched.reads)
        needed[memory] |= need;
      if (auto async = dyn_cast<exec::AsyncOp>(op))
        asyncs[async.getNumber()] = need;
      mark(op, need);
    }
    for (exec::WaitOp wait : waits)
      mark(*wait, asyncs.lookup(wait.getNumber()));
  }

  void mark(Operation &op, const Need &need) {
    if (need.always || need.groups == 0)
      return;
    SmallVector<StringRef> list;
    for (auto [i, name] : llvm::enumerate(names))
      if (need.groups >> i & 1)
        list.push_back(name);
    op.setAttr(exec::kGroupsAttr, Builder(&getContext()).getStrArrayAttr(list));
    ++marked;
  }

  SmallVector<StringRef> names;
  llvm::DenseMap<StringAttr, Need> ofParameter;
};
} // namespace
