//===- Pipeline.cpp - The mesh, and the passes of the distribute phase ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Distribute/Passes.h"

namespace moire::distribute {
#define GEN_PASS_DEF_SETMESH
#include "lib/Distribute/Passes.h.inc"
} // namespace moire::distribute

using namespace mlir;
using namespace moire;

namespace {
struct SetMesh : distribute::impl::SetMeshBase<SetMesh> {
  using SetMeshBase::SetMeshBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringMap<int64_t> sizes;
    for (StringRef axis : axes) {
      auto [name, text] = axis.split('=');
      int64_t size;
      if (text.getAsInteger(10, size) || size < 1) {
        emitError(module.getLoc(), "--mesh takes NAME=SIZE, a size being 1 or more, not '")
            << axis << "', for instance dp=2,ep=4";
        return signalPassFailure();
      }
      if (name != "pp" && name != "dp" && name != "ep" && name != "tp") {
        emitError(module.getLoc(), "--mesh knows the axes pp, dp, ep and tp, not '") << name << "'";
        return signalPassFailure();
      }
      if (!sizes.try_emplace(name, size).second) {
        emitError(module.getLoc(), "--mesh names axis '") << name << "' twice";
        return signalPassFailure();
      }
    }
    SmallVector<StringAttr> names;
    SmallVector<int64_t> extents;
    for (StringRef name : {"pp", "dp", "ep", "tp"})
      if (sizes.lookup(name) > 1) {
        names.push_back(StringAttr::get(&getContext(), name));
        extents.push_back(sizes.lookup(name));
      }
    if (!names.empty())
      module->setAttr(dist::kMeshAttr, dist::MeshAttr::get(&getContext(), names, extents));
  }
};
} // namespace

// Without common subexpression elimination, which would undo train-recompute.
void distribute::buildDistributePipeline(OpPassManager &passes, const DistributeOptions &options) {
  if (options.mesh.empty()) {
    if (options.expertSlots != 0) // which it refuses
      passes.addPass(createDistributeExperts({options.expertSlots}));
    return;
  }
  SmallVector<StringRef> parts;
  StringRef(options.mesh).split(parts, ',');
  SmallVector<std::string> axes(parts.begin(), parts.end());
  passes.addPass(createSetMesh({axes}));
  passes.addPass(createDistributeExperts({options.expertSlots}));
  passes.addPass(createDistributeTensor());
  passes.addPass(createDistributeBatch());
  passes.addPass(createDistributeData());
  if (options.zero > 0)
    passes.addPass(createDistributeZero({options.zero}));
  if (options.zero > 1)
    passes.addPass(createBucketPieces());
}
