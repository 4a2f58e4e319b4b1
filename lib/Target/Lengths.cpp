//===- Lengths.cpp - One model for sequences of several lengths ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lengths.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

int64_t target::lengthOf(ModuleOp module) {
  auto seq = module->getAttrOfType<IntegerAttr>("moire.seq");
  return seq ? seq.getInt() : 0;
}

/// What of a parameter is not the same; empty: nothing.
static StringRef difference(const ParameterEntry &a, const ParameterEntry &b) {
  pipe::ParameterOp first = a.op, second = b.op;
  if (first.getSymName() != second.getSymName() || a.torchName != b.torchName)
    return "name";
  if (first.getType() != second.getType() || a.shape != b.shape)
    return "shape";
  if (first.getShardingAttr() != second.getShardingAttr() || a.shardGroup != b.shardGroup)
    return "division over ranks";
  if (a.trainable != b.trainable || a.balanceRate != b.balanceRate ||
      a.updateGroup != b.updateGroup)
    return "update";
  if (a.zero != b.zero || a.reduceGroup != b.reduceGroup)
    return "sum of gradients";
  if (a.offset != b.offset || a.gradOffset != b.gradOffset || a.stateOffset != b.stateOffset)
    return "place";
  return "";
}

/// The same of a pipeline's ranks.
static StringRef difference(const PipelineEntry &a, const PipelineEntry &b) {
  if (a.program.rankOf() != b.program.rankOf())
    return "the ranks of the pipeline's stages";
  for (size_t rank = 0; rank < a.ranks.size(); ++rank) {
    const StageRankEntry &first = a.ranks[rank], &second = b.ranks[rank];
    if (first.offset != second.offset || first.stateOffset != second.stateOffset)
      return "the parameters of the pipeline's ranks";
    if (first.gradOffset != second.gradOffset || first.gradElements != second.gradElements)
      return "the gradients of the pipeline's ranks";
  }
  return "";
}

/// What keeps two programs from sharing parameters and ranks; empty: nothing.
static std::string difference(const ProgramInfo &a, const ProgramInfo &b) {
  if (a.parameters.size() != b.parameters.size())
    return "the number of parameters";
  for (auto [first, second] : llvm::zip_equal(a.parameters, b.parameters))
    if (StringRef what = difference(first, second); !what.empty())
      return ("the " + what + " of parameter '" + first.torchName + "'").str();
  if (a.gradElements != b.gradElements || a.stateElements != b.stateElements)
    return "the size of the gradients";
  if (a.mesh != b.mesh)
    return "the mesh";
  if (a.pipeline.has_value() != b.pipeline.has_value())
    return "the pipeline";
  if (a.pipeline)
    if (StringRef what = difference(*a.pipeline, *b.pipeline); !what.empty())
      return what.str();
  if (a.inputs.size() != b.inputs.size() ||
      !llvm::equal(a.inputs, b.inputs, [](const InputEntry &x, const InputEntry &y) {
        return x.name == y.name && x.role == y.role && x.element == y.element;
      }))
    return "the inputs";
  if (a.routers.size() != b.routers.size() ||
      !llvm::equal(a.routers, b.routers, [](const RouterEntry &x, const RouterEntry &y) {
        return x.name == y.name && x.experts == y.experts;
      }))
    return "the routers of experts";
  if (a.loss != b.loss || a.labels != b.labels || a.count != b.count || a.vocab != b.vocab ||
      a.tokenVocab != b.tokenVocab)
    return "the loss";
  return "";
}

/// What keeps the lengths from being cut out of one another; empty: nothing.
static std::string misfit(ArrayRef<ProgramInfo> lengths) {
  const int64_t shortest = lengths.front().seq, longest = lengths.back().seq;
  for (size_t i = 1; i < lengths.size(); ++i)
    if (lengths[i].seq == lengths[i - 1].seq)
      return "two of the programs have sequences of " + std::to_string(lengths[i].seq) +
             " tokens; list the sizes of the dimension that is the sequence's, each once";
  for (const ProgramInfo &info : lengths) {
    const std::string own = "the length " + std::to_string(info.seq);
    if (longest % info.seq != 0)
      return own + " does not divide the longest one, " + std::to_string(longest) +
             ", of which a row of the data is cut; use lengths that do";
    if (info.seq % shortest != 0)
      return own + " is no multiple of the shortest one, " + std::to_string(shortest) +
             ", by which the position in the data is counted; use lengths that are";
  }
  return "";
}

FailureOr<std::vector<ProgramInfo>> target::collectLengths(ArrayRef<EmitSource> sources,
                                                           const EmitOptions &options) {
  std::vector<ProgramInfo> lengths;
  for (const EmitSource &source : sources) {
    // Ranks meet in the same groups, whichever program they run.
    auto info = lengths.empty() ? collectProgram(source.module, options)
                                : collectProgram(source.module, options, lengths.back().groups);
    if (failed(info))
      return failure();
    lengths.push_back(std::move(*info));
  }
  if (lengths.size() < 2)
    return lengths;
  for (ProgramInfo &info : lengths)
    info.groups = lengths.back().groups;
  llvm::stable_sort(lengths, [](const auto &a, const auto &b) { return a.seq < b.seq; });
  const Location loc = UnknownLoc::get(ModuleOp(sources.front().module).getContext());
  if (lengths.front().seq < 1)
    return emitError(loc) << "the model has no token sequence, and --bind lists several sizes; "
                             "bind each dimension to one",
           failure();
  if (std::string what = misfit(lengths); !what.empty())
    return emitError(loc) << "--bind: " << what, failure();
  for (ProgramInfo &info : lengths) {
    if (std::string what = difference(lengths.back(), info); !what.empty())
      return emitError(loc) << "with seq=" << info.seq << " " << what
                            << " is not what it is with seq=" << lengths.back().seq
                            << ", and one trainer cannot have both; compile them apart, or with "
                               "another --mesh or --stages",
             failure();
    info.space = "seq" + std::to_string(info.seq);
    info.numLengths = lengths.size();
  }
  return lengths;
}
