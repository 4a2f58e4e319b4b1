//===- ProgramInfo.cpp - From the module's attributes to plain data ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ProgramInfo.h"
#include "dialects/pipe/Gradients.h"
#include "dialects/pipe/PipeBalance.h"
#include "dialects/pipe/UpdateGroups.h"
#include "Routers.h"
#include "Text.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

namespace {
class Collector {
public:
  Collector(ModuleOp module, const EmitOptions &options, const llvm::SetVector<ArrayAttr> &groups)
      : module(module), options(options) {
    info.module = module;
    info.groups = groups;
  }
  FailureOr<ProgramInfo> run();

private:
  LogicalResult readAttributes();
  LogicalResult readEnums();
  LogicalResult readInputs();
  LogicalResult readParameters();
  LogicalResult readUpdates();
  LogicalResult readBuffers();
  LogicalResult readShadows();
  LogicalResult readMesh();
  int64_t number(StringRef name) {
    auto attr = module->getAttrOfType<IntegerAttr>(name);
    return attr ? attr.getInt() : 0;
  }
  std::string text(StringRef name) {
    auto attr = module->getAttrOfType<StringAttr>(name);
    return attr ? attr.str() : "";
  }

  ModuleOp module;
  const EmitOptions &options;
  ProgramInfo info;
};
} // namespace

LogicalResult Collector::readAttributes() {
  info.modelPath = text("moire.model_path");
  info.name = options.name;
  if (info.name.empty()) {
    // corpus/gpt2/model.onnx is called gpt2: "model" tells nothing.
    StringRef path = info.modelPath, stem = llvm::sys::path::stem(path);
    if (stem == "model")
      stem = llvm::sys::path::filename(llvm::sys::path::parent_path(path));
    info.name = stem.empty() ? "program" : stem.str();
  }
  if (auto files = module->getAttrOfType<ArrayAttr>("moire.files"))
    for (Attribute attr : files) {
      auto file = dyn_cast<DictionaryAttr>(attr);
      auto path = file ? file.getAs<StringAttr>("path") : nullptr;
      auto bytes = file ? file.getAs<IntegerAttr>("bytes") : nullptr;
      auto checksum = file ? file.getAs<IntegerAttr>("checksum") : nullptr;
      if (!path || !bytes || !checksum)
        return module.emitError("entry ")
               << attr << " of moire.files needs path, bytes and checksum";
      info.files.push_back({path.str(), bytes.getInt(), static_cast<uint64_t>(checksum.getInt())});
    }
  info.init = options.init;
  info.options = options;
  info.batch = number("moire.batch");
  info.seq = number("moire.seq");
  info.vocab = number("moire.vocab");
  info.tokenVocab = number("moire.token_vocab");
  info.modelFlops = number("moire.model_flops");
  info.hardwareFlops = number("moire.hardware_flops");
  return readEnums();
}

LogicalResult Collector::readEnums() {
  using Map = std::vector<std::pair<StringRef, StringRef>>;
  auto take = [&](StringRef name, const Map &map, std::string &result) -> LogicalResult {
    // The output that is the loss may follow: "output:loss".
    std::string whole = text(name), known;
    StringRef value = StringRef(whole).split(':').first;
    for (auto [text, enumerator] : map) {
      if (text == value) {
        result = enumerator.str();
        return success();
      }
      known += (known.empty() ? "" : ", ") + text.str();
    }
    return module.emitError("attribute ") << name << " is '" << value << "' but must be one of "
                                          << known << "; phase train sets it";
  };
  if (failed(take("moire.loss",
                  {{"next-token", "nextToken"},
                   {"token", "token"},
                   {"class", "classes"},
                   {"mse", "mse"},
                   {"output", "output"}},
                  info.loss)) ||
      failed(take("moire.labels", {{"shifted", "shifted"}, {"as-is", "asIs"}}, info.labels)))
    return failure();
  return take("moire.count", {{"all", "all"}, {"skip-first", "skipFirst"}, {"none", "none"}},
              info.count);
}

/// The runtime fills inputs by what their names promise.
static StringRef roleOfName(StringRef name) {
  return llvm::StringSwitch<StringRef>(name)
      .Case("input_ids", "tokens")
      .Case("attention_mask", "attentionMask")
      .Case("position_ids", "positionIds")
      .Case("token_type_ids", "tokenTypeIds")
      .Default("other");
}

LogicalResult Collector::readInputs() {
  Identifiers identifiers;
  auto func = info.microStep;
  bool hasTokens = false;
  for (BlockArgument argument : func.getArguments()) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    unsigned i = argument.getArgNumber();
    if (!type || !exec::isDense(type) || memoryType(type.getElementType()).empty())
      return func.emitError("argument ")
             << i << " of type " << argument.getType()
             << " must be a dense memref of f32, f64, i64, i32 or i1; phase program makes it so";
    InputEntry input;
    auto name = func.getArgAttrOfType<StringAttr>(i, "onnx.name");
    auto role = func.getArgAttrOfType<StringAttr>(i, "moire.role");
    input.name = name ? name.str() : "input" + std::to_string(i);
    input.identifier = identifiers.make(input.name);
    input.element = type.getElementType();
    input.shape.assign(type.getShape().begin(), type.getShape().end());
    StringRef what = role ? role.getValue() : "data";
    if (what == "scale" || what == "labels") {
      input.role = what.str();
      // Labels of the graph itself come from its input_N.pb.
      input.graphIndex = what == "labels" && info.loss == "output" ? int64_t(i) : -1;
    } else if (what == "data") {
      input.role = roleOfName(input.name).str();
      input.graphIndex = i;
    } else {
      return func.emitError("argument ")
             << i << " has moire.role '" << what << "' but must have data, labels or scale";
    }
    hasTokens |= input.role == "tokens";
    info.inputs.push_back(std::move(input));
  }
  // Token ids under another name: the first matrix of integers.
  for (InputEntry &input : info.inputs)
    if (!hasTokens && input.role == "other" && input.shape.size() == 2 &&
        input.element.isInteger(64)) {
      input.role = "tokens";
      break;
    }
  return success();
}

LogicalResult Collector::readParameters() {
  Identifiers identifiers;
  llvm::StringSet<> torchNames;
  info.updateGroups = pipe::updateGroupsOf(module);
  if (info.updateGroups.size() > pipe::kMostUpdateGroups)
    return module.emitError("has parameters in ")
           << info.updateGroups.size() << " groups, but a program keeps " << pipe::kMostUpdateGroups
           << " at most";
  for (auto op : module.getOps<pipe::ParameterOp>()) {
    RankedTensorType type = op.getLocalType();
    if (!type.getElementType().isF32())
      return op.emitError("is of ") << type.getElementType() << " but a program holds f32 only";
    ParameterEntry entry;
    entry.op = op;
    entry.torchName = op.getTorchName().value_or(op.getSymName()).str();
    if (!torchNames.insert(entry.torchName).second)
      entry.torchName = op.getSymName().str();
    entry.identifier = identifiers.make(op.getSymName());
    entry.shape.assign(type.getShape().begin(), type.getShape().end());
    entry.trainable = !op.getFrozen();
    if (op.getGroup())
      entry.updateGroup = static_cast<int>(llvm::find(info.updateGroups, *op.getGroup()) -
                                           info.updateGroups.begin());
    entry.zero = op.getZeroLevel();
    entry.elements = op.getHeldType().getNumElements();
    entry.gradElements = op.getGradientType().getNumElements();
    entry.stateElements = entry.zero ? op.getPieceType().getNumElements() : entry.elements;
    info.parameterOf[op.getSymName()] = info.parameters.size();
    info.parameters.push_back(std::move(entry));
  }
  // Trained ones first, so that gradients and moments have the same offsets in
  // shorter blocks where nothing is divided; each at a cache line.
  auto take = [](int64_t &next, int64_t elements) {
    int64_t offset = next;
    next += llvm::alignTo(elements, 16);
    return offset;
  };
  if (info.pipeline)
    return success(); // layOutPipeline places them, rank by rank
  for (bool trainable : {true, false})
    for (ParameterEntry &entry : info.parameters) {
      if (entry.trainable != trainable)
        continue;
      entry.offset = take(info.paramElements, entry.elements);
      if (!trainable)
        continue;
      entry.gradOffset = take(info.gradElements, entry.gradElements);
      entry.stateOffset = take(info.stateElements, entry.stateElements);
    }
  return success();
}

/// The runtime updates every trained parameter by one rule: so must the module.
LogicalResult Collector::readUpdates() {
  auto func = module.lookupSymbol<func::FuncOp>("optimizer_step");
  if (!func)
    return module.emitError("has no function @optimizer_step; phase train makes it");
  llvm::StringSet<> updated, gathered;
  std::optional<pipe::Optimizer> rule;
  for (Operation &op : func.getBody().front().without_terminator()) {
    if (auto balance = dyn_cast<pipe::BalanceOp>(op)) {
      info.parameters[info.parameterOf.lookup(balance.getParameter())].balanceRate =
          balance.getRate().convertToDouble();
      updated.insert(balance.getParameter());
      continue;
    }
    if (auto gather = dyn_cast<pipe::GatherOp>(op)) {
      for (auto name : gather.getParameters().getAsRange<FlatSymbolRefAttr>())
        gathered.insert(name.getValue());
      continue;
    }
    auto update = dyn_cast<pipe::UpdateOp>(op);
    if (!update)
      return op.emitError("has no statement in @optimizer_step of a CPU program");
    if (rule && *rule != update.getOptimizer())
      return op.emitError("updates by another rule than the parameters before it");
    rule = update.getOptimizer();
    updated.insert(update.getParameter());
  }
  for (ParameterEntry &entry : info.parameters)
    if (entry.trainable != updated.contains(entry.op.getSymName()))
      return entry.op.emitError("is ") << (entry.trainable ? "not frozen but not" : "frozen but")
                                       << " updated in @optimizer_step";
    else if ((entry.zero == 1 || entry.zero == 2) && !gathered.contains(entry.op.getSymName()))
      return entry.op.emitError("is updated in pieces but not gathered in @optimizer_step");
  if (!rule)
    return module.emitError("has no parameter to train; check --freeze");
  info.optimizer = rule == pipe::Optimizer::sgd ? "sgd" : "adamw";
  return success();
}

BucketEntry target::makeBucket(const ProgramInfo &info, pipe::ReduceGradsOp sum,
                               llvm::function_ref<int64_t(unsigned)> offsetOf) {
  BucketEntry bucket{info.groupOf(sum.getAxes()), {}};
  for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>()) {
    const unsigned parameter = info.parameterOf.lookup(name.getValue());
    const ParameterEntry &entry = info.parameters[parameter];
    const int64_t piece = sum.getScatter() ? entry.op.getPieceType().getNumElements() : 0;
    if (const int64_t begin = offsetOf(parameter); begin >= 0)
      bucket.ranges.push_back({begin, begin + entry.gradElements, piece});
  }
  llvm::sort(bucket.ranges, [](const auto &a, const auto &b) { return a.begin < b.begin; });
  std::vector<BucketEntry::Range> joined;
  for (const auto &range : bucket.ranges) {
    if (!joined.empty() && !range.piece && !joined.back().piece &&
        range.begin - joined.back().end < 16)
      joined.back().end = range.end;
    else
      joined.push_back(range);
  }
  bucket.ranges = std::move(joined);
  return bucket;
}

SmallVector<func::FuncOp> ProgramInfo::steps() const {
  if (!pipeline)
    return {microStep};
  SmallVector<func::FuncOp> result;
  for (auto [number, stage] : llvm::enumerate(pipeline->program.stages))
    if (pipeline->program.originalOf(number) == int64_t(number))
      llvm::append_range(result, pipeline->program.functionsOf(stage));
  for (pipe::PipelineProgram::Pair pair : pipeline->program.pairs())
    result.push_back(pair.func);
  return result;
}

std::string ProgramInfo::parameterName(unsigned parameter, int rank) const {
  const std::string &name = parameters[parameter].identifier;
  if (!pipeline)
    return name;
  const int64_t mine = pipeline->ranks[rank].offset[parameter];
  int first = -1;
  bool differ = false;
  for (auto [i, other] : llvm::enumerate(pipeline->ranks)) {
    if (other.offset[parameter] < 0)
      continue;
    differ |= other.offset[parameter] != mine;
    if (first < 0 && other.offset[parameter] == mine)
      first = int(i);
  }
  return differ ? name + "_on" + std::to_string(first) : name;
}

std::string ProgramInfo::gradientName(unsigned parameter, int stage) const {
  const ParameterEntry &entry = parameters[parameter];
  if (!pipeline)
    return entry.identifier;
  std::set<int> stages;
  for (const auto &copy : pipeline->program.copiesOf(entry.op.getSymNameAttr()))
    stages.insert(copy.stage);
  return stages.size() > 1 ? entry.identifier + "_stage" + std::to_string(stage) : entry.identifier;
}

/// The groups in which statements, sums of gradients and norms meet.
LogicalResult Collector::readMesh() {
  info.mesh = dist::meshOf(module);
  auto reduce = module.lookupSymbol<func::FuncOp>("reduce_gradients");
  if (!info.mesh)
    return success();
  for (func::FuncOp step : info.steps())
    step.walk([&](Operation *op) {
      if (auto axes = op->getAttrOfType<ArrayAttr>("axes"))
        info.groups.insert(axes);
    });
  for (ParameterEntry &entry : info.parameters) {
    if (entry.zero) {
      info.groups.insert(entry.op.getZeroAxesAttr());
      entry.reduceGroup = info.groupOf(entry.op.getZeroAxesAttr());
    }
    SmallVector<Attribute> axes;
    if (dist::ShardingAttr sharding = entry.op.getShardingAttr())
      for (ArrayAttr dim : sharding.getDims())
        axes.append(dim.begin(), dim.end());
    // In the mesh's order, as the other groups.
    llvm::sort(axes, [&](Attribute a, Attribute b) {
      return llvm::find(info.mesh.getAxes(), a) < llvm::find(info.mesh.getAxes(), b);
    });
    if (axes.empty())
      continue;
    auto group = ArrayAttr::get(module.getContext(), axes);
    info.groups.insert(group);
    entry.shardGroup = info.groupOf(group);
  }
  if (!reduce)
    return success();
  for (Operation &op : reduce.getBody().front().without_terminator()) {
    if (isa<pipe::SumCopiesOp>(op) && info.pipeline)
      continue;
    auto sum = dyn_cast<pipe::ReduceGradsOp>(op);
    if (!sum)
      return op.emitError("has no statement in @reduce_gradients");
    info.groups.insert(sum.getAxes());
    for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>())
      info.parameters[info.parameterOf.lookup(name.getValue())].reduceGroup =
          info.groupOf(sum.getAxes());
    if (!info.pipeline)
      info.buckets.push_back(makeBucket(info, sum, [&](unsigned parameter) {
        return info.parameters[parameter].gradOffset;
      }));
  }
  return success();
}

LogicalResult Collector::readBuffers() {
  for (func::FuncOp step : info.steps())
    for (auto buffer : step.getOps<exec::BufferOp>()) {
      if (!buffer.getOffset())
        return buffer.emitError("has no offset; pass pack-arena gives it");
      int64_t end = *buffer.getOffset() + buffer.getBytes();
      info.arenaBytes = std::max<int64_t>(info.arenaBytes, llvm::alignTo(end, 64));
    }
  if (!info.pipeline)
    info.peak = findPeak(info.microStep, [](Operation *op) { return nodeNames(op->getLoc(), 1); });
  return success();
}

/// @prepare makes every shadow that the micro-step reads, in the order of the block.
LogicalResult Collector::readShadows() {
  llvm::StringSet<> made;
  info.prepare = module.lookupSymbol<func::FuncOp>("prepare");
  if (info.prepare)
    for (auto round : info.prepare.getOps<exec::RoundOp>()) {
      auto shadow = round.getTarget().getDefiningOp<exec::ShadowOp>();
      if (!shadow)
        return round.emitOpError("in @prepare must write an exec.shadow");
      if (!made.insert(shadow.getParameter()).second)
        return round.emitOpError("makes the shadow of @") << shadow.getParameter() << " twice";
      unsigned parameter = info.parameterOf.lookup(shadow.getParameter());
      info.shadows.push_back({parameter, info.shadowBytes});
      info.shadowBytes += llvm::alignTo(info.parameters[parameter].elements * 2, 64);
    }
  for (func::FuncOp step : info.steps())
    for (auto shadow : step.getOps<exec::ShadowOp>())
      if (!made.contains(shadow.getParameter()))
      return shadow.emitOpError("of @") << shadow.getParameter() << " is not made by @prepare";
  return success();
}

FailureOr<ProgramInfo> Collector::run() {
  info.ramp = pipe::batchRampOf(module);
  if (pipe::PipelineProgram::isIn(module)) {
    auto program = pipe::PipelineProgram::read(module);
    if (failed(program))
      return failure();
    info.microStep = program->first();
    info.pipeline = PipelineEntry{std::move(*program), {}, {}};
  } else {
    info.microStep = module.lookupSymbol<func::FuncOp>("micro_step");
  }
  if (!info.microStep || info.microStep.getBody().empty())
    return module.emitError("has no function @micro_step; phase train makes it");
  if (!llvm::hasSingleElement(info.microStep.getBody()))
    return info.microStep.emitError("must be straight-line code");
  if (failed(readAttributes()) || failed(readInputs()) || failed(readParameters()) ||
      failed(readUpdates()) || failed(readMesh()) || failed(readBuffers()) || failed(readShadows()) ||
      (info.pipeline && failed(layOutPipeline(info))))
    return failure();
  collectRouters(info);
  return std::move(info);
}

FailureOr<ProgramInfo> target::collectProgram(ModuleOp module, const EmitOptions &options,
                                              const llvm::SetVector<ArrayAttr> &groups) {
  return Collector(module, options, groups).run();
}

//===----------------------------------------------------------------------===//
// The peak
//===----------------------------------------------------------------------===//

/// The arena's buffer behind a place, or null.
static exec::BufferOp bufferOf(Value place) {
  return exec::rootOf(place).getDefiningOp<exec::BufferOp>();
}

std::vector<PeakLine> target::findPeak(func::FuncOp func,
                                       llvm::function_ref<std::string(Operation *)> nodeOf) {
  // 1. First and last statement of every buffer, by the statements' numbers.
  struct Life {
    int64_t first = -1, last = -1, bytes = 0;
    Operation *writer = nullptr;
  };
  llvm::MapVector<Operation *, Life> lives;
  llvm::DenseMap<int64_t, exec::AsyncOp> asyncs; // by number
  int64_t count = 0;
  auto touch = [&](Operation *op) {
    for (Value operand : op->getOperands())
      if (auto buffer = bufferOf(operand)) {
        Life &life = lives[buffer];
        if (life.first < 0) {
          life.first = count;
          life.writer = op;
          life.bytes = llvm::alignTo(buffer.getBytes(), 64);
        }
        life.last = count;
      }
  };
  for (Operation &op : func.getBody().front()) {
    if (isa<exec::BufferOp, exec::ViewOp, exec::RoutingOp>(op))
      continue;
    // Until its wait an async's buffers are in use.
    Operation *touching = &op;
    if (auto async = dyn_cast<exec::AsyncOp>(op))
      asyncs[async.getNumber()] = async;
    else if (auto wait = dyn_cast<exec::WaitOp>(op))
      touching = asyncs.lookup(wait.getNumber());
    if (touching)
      touching->walk(touch);
    ++count;
  }
  // 2. The statement with the largest sum.
  std::vector<int64_t> delta(count + 1);
  for (auto &[buffer, life] : lives) {
    delta[life.first] += life.bytes;
    delta[life.last + 1] -= life.bytes;
  }
  int64_t sum = 0, best = -1, at = 0;
  for (int64_t i = 0; i < count; ++i)
    if ((sum += delta[i]) > best) {
      best = sum;
      at = i;
    }
  // 3. The five largest there, and the rest.
  std::vector<std::pair<int64_t, Operation *>> live;
  for (auto &[buffer, life] : lives)
    if (life.first <= at && at <= life.last)
      live.push_back({life.bytes, buffer});
  llvm::stable_sort(live, [](auto &a, auto &b) { return a.first > b.first; });
  std::vector<PeakLine> lines;
  int64_t rest = 0;
  for (auto [i, entry] : llvm::enumerate(live)) {
    if (i >= 5) {
      rest += entry.first;
      continue;
    }
    auto type = cast<MemRefType>(entry.second->getResult(0).getType());
    std::string what;
    llvm::raw_string_ostream os(what);
    llvm::interleave(type.getShape(), os, "x");
    os << (type.getRank() ? "x" : "") << type.getElementType();
    std::string node = nodeOf(lives[entry.second].writer);
    if (!node.empty())
      os << " of " << node;
    lines.push_back({what, entry.first});
  }
  if (rest)
    lines.push_back({"in " + std::to_string(live.size() - 5) + " other buffers", rest});
  return lines;
}
