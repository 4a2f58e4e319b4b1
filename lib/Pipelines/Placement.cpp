//===- Placement.cpp - Which rank has what of a compiled model ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Placement.h"
#include "dialects/dist/Dist.h"
#include "dialects/pipe/Pipe.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Support/NodeNames.h"

using namespace mlir;
using namespace moire;
using frontend::Placement;

/// The names of nodes whose ops a stage's forward computes. What is made of the micro-batch's
/// inputs alone, or of parameters alone, every stage makes for itself: it belongs to none.
static void placeNodes(const pipe::PipelineProgram &program, int stage, Placement &placement) {
  func::FuncOp forward = program.functionOf({scheduling::TaskKind::Forward, 0, stage, 0});
  llvm::DenseSet<Value> inputs, parameters;
  for (BlockArgument argument : forward.getArguments())
    if (pipe::argumentPort(forward, argument.getArgNumber()).role.empty())
      inputs.insert(argument);
  for (Operation &op : forward.getBody().front().without_terminator()) {
    bool ofInputs = false, ofParameters = isa<pipe::ReadOp>(op), ofOthers = false;
    for (Value operand : op.getOperands()) {
      const bool known = inputs.contains(operand) || parameters.contains(operand);
      ofInputs |= inputs.contains(operand);
      ofParameters |= parameters.contains(operand);
      Operation *def = operand.getDefiningOp();
      ofOthers |= !known && !(def && def->getNumOperands() == 0);
    }
    if (!ofOthers && !(ofInputs && ofParameters)) {
      if (ofInputs)
        inputs.insert(op.result_begin(), op.result_end());
      if (ofParameters)
        parameters.insert(op.result_begin(), op.result_end());
      continue;
    }
    if (StringAttr node = firstNode(op.getLoc()))
      placement.stages.emplace(program.nodeOf(stage, node).str(), stage);
  }
}

/// The dims of `type` that a sharding splits, or nothing where a file cannot say it.
static std::optional<SmallVector<Placement::Split>> splitsOf(dist::ShardingAttr sharding,
                                                             RankedTensorType type) {
  SmallVector<Placement::Split> splits;
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (!sharding.isSplit(dim))
      continue;
    Placement::Split split{dim, {}, type.getDimSize(dim), {}, 1};
    for (StringRef axis : sharding.getDims()[dim].getAsValueRange<StringAttr>())
      split.axes.push_back(axis.str());
    const SmallVector<int64_t> blocks = sharding.getBlocksOf(dim, type.getDimSize(dim));
    if (!llvm::all_equal(blocks))
      return std::nullopt;
    split.blocks = blocks.size();
    splits.push_back(split);
  }
  return splits;
}

/// Where the initializers of a divided parameter lie.
static void placeParameter(pipe::ParameterOp parameter, dist::MeshAttr mesh, Placement &placement) {
  const dist::ShardingAttr sharding = parameter.getShardingAttr();
  if (!sharding || sharding.isReplicated())
    return;
  auto type = cast<RankedTensorType>(parameter.getType());
  const auto splits = splitsOf(sharding, type);
  if (!splits)
    return;
  const int64_t rank = type.getRank();
  for (auto source : parameter.getSources().getAsRange<pipe::SourceAttr>()) {
    const pipe::Transform transform = source.getTransform();
    const bool transposed = transform == pipe::Transform::transpose_last2 ||
                            transform == pipe::Transform::slice_transpose;
    const bool sliced =
        transform == pipe::Transform::slice || transform == pipe::Transform::slice_transpose;
    if (transform == pipe::Transform::reshape)
      continue;
    Placement::Tensor tensor;
    bool canSay = true;
    for (Placement::Split split : *splits) {
      if (sliced && split.dim == 0) {
        canSay &= split.axes.size() == 1 && split.blocks == 1;
        const int64_t pieces = mesh.getSize(split.axes[0]);
        tensor.only.push_back({split.axes[0], source.getIndex() * pieces / type.getDimSize(0)});
        continue;
      }
      if (transposed && split.dim >= rank - 2)
        split.dim = 2 * rank - 3 - split.dim;
      split.dim -= sliced;
      tensor.splits.push_back(split);
    }
    llvm::sort(tensor.splits, [](const auto &a, const auto &b) { return a.dim < b.dim; });
    if (canSay)
      placement.tensors[source.getInitializer().str()] = tensor;
  }
}

/// Ranks of dp and ep have other rows of the batch.
static void placeInputs(func::FuncOp func, dist::MeshAttr mesh, Placement &placement) {
  Placement::Split rows{0, {}, 0, {}, 1};
  for (StringRef axis : {"dp", "ep"})
    if (mesh.getSize(axis) > 1)
      rows.axes.push_back(axis.str());
  if (rows.axes.empty())
    return;
  for (unsigned i = 0; i < func.getNumArguments(); ++i) {
    auto role = func.getArgAttrOfType<StringAttr>(i, "moire.role");
    auto name = func.getArgAttrOfType<StringAttr>(i, "onnx.name");
    if (!role || role.getValue() != "data" || !name)
      continue;
    auto dims = func.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
    rows.name = dims && !dims.empty() ? cast<StringAttr>(dims[0]).str() : std::string();
    placement.tensors[name.str()].splits = {rows};
  }
}

FailureOr<Placement> moire::placementOf(ModuleOp module) {
  Placement placement;
  const dist::MeshAttr mesh = dist::meshOf(module);
  for (auto [axis, size] : llvm::zip_equal(mesh ? mesh.getAxes() : ArrayRef<StringAttr>(),
                                           mesh ? mesh.getSizes() : ArrayRef<int64_t>())) {
    placement.mesh.push_back({axis.str(), size});
    placement.configuration +=
        (placement.configuration.empty() ? "" : ",") + axis.str() + "=" + std::to_string(size);
  }
  if (!mesh) {
    placement.configuration = "one device";
    return placement;
  }
  for (auto parameter : module.getOps<pipe::ParameterOp>())
    placeParameter(parameter, mesh, placement);
  if (!pipe::PipelineProgram::isIn(module)) {
    placeInputs(module.lookupSymbol<func::FuncOp>("micro_step"), mesh, placement);
    return placement;
  }
  auto program = pipe::PipelineProgram::read(module);
  if (failed(program))
    return failure();
  placeInputs(program->first(), mesh, placement);
  placement.holders.resize(program->numStages());
  for (int stage = 0; stage < program->numStages(); ++stage) {
    for (const std::vector<int> &ranks : program->rankOf())
      if (!llvm::is_contained(placement.holders[stage], ranks[stage]))
        placement.holders[stage].push_back(ranks[stage]);
    placeNodes(*program, stage, placement);
  }
  return placement;
}
