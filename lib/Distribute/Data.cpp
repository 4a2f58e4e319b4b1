//===- Data.cpp - Sums of gradients over ranks with different tokens -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Distribute/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace moire::distribute {
#define GEN_PASS_DEF_DISTRIBUTEDATA
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

/// The axes whose ranks hold equal shards of a parameter and different tokens.
static ArrayAttr axesToSumOver(pipe::ParameterOp parameter, dist::MeshAttr mesh) {
  SmallVector<Attribute> axes;
  for (StringRef axis : {"dp", "ep"})
    if (mesh.getSize(axis) > 1 &&
        !(parameter.getShardingAttr() && parameter.getShardingAttr().isSplitBy(axis)))
      axes.push_back(StringAttr::get(mesh.getContext(), axis));
  return ArrayAttr::get(mesh.getContext(), axes);
}

namespace {
struct Bucket {
  SmallVector<Attribute> parameters;
  SmallVector<Location> locations;
  int64_t bytes = 0;
};

struct DistributeData : distribute::impl::DistributeDataBase<DistributeData> {
  using DistributeDataBase::DistributeDataBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    dist::MeshAttr mesh = dist::meshOf(module);
    auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
    if (!mesh || !microStep)
      return;
    // The last accumulate of a parameter completes its gradient.
    llvm::MapVector<StringRef, int64_t> completion;
    int64_t position = 0;
    microStep.walk([&](pipe::AccumulateOp op) { completion[op.getParameter()] = position++; });
    SmallVector<StringRef> names;
    for (auto &[name, at] : completion)
      names.push_back(name);
    llvm::stable_sort(names, [&](StringRef a, StringRef b) {
      return completion.lookup(a) < completion.lookup(b);
    });

    // An eighth of all at most, so that the first sum can begin early; not less than a megabyte,
    // below which a message costs more than its bytes.
    int64_t all = 0;
    for (StringRef name : names) {
      RankedTensorType type = module.lookupSymbol<pipe::ParameterOp>(name).getLocalType();
      all += type.getNumElements() * (type.getElementTypeBitWidth() / 8);
    }
    const int64_t most = std::min<int64_t>(bucketBytes, std::max<int64_t>(1 << 20, all / 8));

    auto builder = OpBuilder::atBlockEnd(module.getBody());
    auto reduce = builder.create<func::FuncOp>(module.getLoc(), "reduce_gradients",
                                               builder.getFunctionType({}, {}));
    builder.setInsertionPointToStart(reduce.addEntryBlock());
    // What rests together is not summed together with what does not.
    llvm::MapVector<std::pair<ArrayAttr, StringAttr>, Bucket> open;
    auto close = [&](ArrayAttr axes, Bucket &bucket) {
      if (!bucket.parameters.empty())
        builder.create<pipe::ReduceGradsOp>(builder.getFusedLoc(bucket.locations),
                                            builder.getArrayAttr(bucket.parameters), axes);
      bucket = {};
    };
    for (StringRef name : names) {
      auto parameter = module.lookupSymbol<pipe::ParameterOp>(name);
      ArrayAttr axes = axesToSumOver(parameter, mesh);
      if (axes.empty())
        continue;
      RankedTensorType type = parameter.getLocalType();
      int64_t bytes = type.getNumElements() * (type.getElementTypeBitWidth() / 8);
      Bucket &bucket = open[{axes, parameter.getGroupAttr()}];
      if (bucket.bytes + bytes > most)
        close(axes, bucket);
      bucket.parameters.push_back(FlatSymbolRefAttr::get(parameter.getSymNameAttr()));
      bucket.locations.push_back(parameter.getLoc());
      bucket.bytes += bytes;
    }
    for (auto &[key, bucket] : open)
      close(key.first, bucket);
    builder.create<func::ReturnOp>(module.getLoc());
  }
};
} // namespace
