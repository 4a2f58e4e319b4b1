//===- Training.cpp - The interpreter's training loop --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/Training.h"
#include "StageRunner.h"
#include "dialects/pipe/PipeBalance.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;
using namespace moire;
using namespace moire::interp;

static const int64_t kIgnored = -100;

static StringRef argumentAttr(func::FuncOp func, unsigned i, StringRef name) {
  auto attr = func.getArgAttrOfType<StringAttr>(i, name);
  return attr ? attr.getValue() : StringRef();
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

/// What the data does not give; nothing for an input that it must give.
static std::optional<Tensor> fillIn(StringRef name, RankedTensorType type) {
  if (name == "attention_mask")
    return Tensor::splat(type, 1);
  if (name == "token_type_ids")
    return Tensor(type);
  if (name != "position_ids" || type.getRank() == 0)
    return std::nullopt;
  Tensor positions(type);
  dispatch(positions, [&](auto t) {
    int64_t i = 0;
    for (auto &x : positions.edit<decltype(t)>())
      x = i++ % type.getShape().back();
  });
  return positions;
}

/// Rows [index * n, index * n + n) of the first dim, n being the type's.
static Tensor rowsOf(const Tensor &whole, RankedTensorType type, int64_t index) {
  Tensor part(type);
  dispatch(whole, [&](auto t) {
    llvm::copy(whole.get<decltype(t)>().slice(index * part.size(), part.size()),
               part.edit<decltype(t)>().begin());
  });
  return part;
}

/// `data` cut into `count` parts of an argument's type. What has the argument's
/// own shape where there are more parts is the same for all of them.
static FailureOr<std::vector<Tensor>> cut(func::FuncOp func, unsigned i, StringRef name,
                                          const Tensor &data, int64_t count) {
  auto type = cast<RankedTensorType>(func.getArgument(i).getType());
  auto mismatch = [&](auto... text) {
    auto error = func.emitError("input '") << name << "' of the data has type " << data.type();
    ((error << text), ...);
    return failure();
  };
  if (data.elementType() != type.getElementType())
    return mismatch(", but the function takes ", type);
  if (data.shape() == type.getShape() && (count == 1 || type.getRank() < 2))
    return std::vector<Tensor>(count, data);
  if (data.rank() != type.getRank() || !type.getRank() ||
      data.shape().drop_front() != type.getShape().drop_front())
    return mismatch(", but the function takes ", type);
  if (data.shape()[0] != type.getDimSize(0) * count)
    return mismatch("; its first size ", data.shape()[0], " must be batch ", type.getDimSize(0),
                    " x ", count,
                    " micro-batches (--accumulate x dp x ep) = ", type.getDimSize(0) * count);
  std::vector<Tensor> parts;
  for (int64_t part = 0; part < count; ++part)
    parts.push_back(rowsOf(data, type, part));
  return parts;
}

/// The parts of graph input i from the folder, or filled in.
static FailureOr<std::vector<Tensor>> inputParts(func::FuncOp func, unsigned i,
                                                 const DataFolder &data, int64_t count) {
  StringRef name = argumentAttr(func, i, "onnx.name");
  auto type = cast<RankedTensorType>(func.getArgument(i).getType());
  if (const Tensor *given = data.find(name, i))
    return cut(func, i, name, *given, count);
  if (std::optional<Tensor> filled = fillIn(name, type))
    return std::vector<Tensor>(count, *filled);
  return func.emitError("input '")
             << name << "' is neither in '" << data.path << "' nor one that can be filled in",
         failure();
}

FailureOr<SmallVector<RuntimeValue>> moire::interp::makeArguments(func::FuncOp func,
                                                                  const DataFolder &data) {
  SmallVector<RuntimeValue> arguments;
  for (unsigned i = 0; i < func.getNumArguments(); ++i) {
    auto parts = inputParts(func, i, data, 1);
    if (failed(parts))
      return failure();
    arguments.push_back(parts->front());
  }
  return arguments;
}

//===----------------------------------------------------------------------===//
// Labels
//===----------------------------------------------------------------------===//

static StringRef moduleAttr(ModuleOp module, StringRef name, StringRef otherwise) {
  auto attr = module->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : otherwise;
}

FailureOr<Tensor> Training::prepareLabels(const Tensor &labels) {
  if (moduleAttr(module, "moire.labels", "as-is") != "shifted")
    return labels;
  if (labels.rank() != 2 || labels.isFloat())
    return module.emitError("labels of type ") << labels.type()
                                               << " cannot be shifted; they must be token ids "
                                                  "[batch, seq]",
           failure();
  // target[t] = labels[t + 1]; the last position has none.
  Tensor targets(labels.type());
  auto to = targets.edit<int64_t>();
  int64_t seq = labels.shape()[1];
  for (int64_t i = 0; i < labels.size(); ++i)
    to[i] = i % seq == seq - 1 ? kIgnored : labels.ints()[i + 1];
  return targets;
}

int64_t Training::countLabels(const Tensor &labels) {
  // A squared error counts elements.
  if (labels.isFloat())
    return labels.size();
  bool skipFirst = moduleAttr(module, "moire.count", "all") == "skip-first";
  int64_t row = skipFirst ? labels.shape().back() : 1, count = 0;
  for (auto [i, label] : llvm::enumerate(labels.ints()))
    count += label != kIgnored && !(skipFirst && i % row == 0);
  return count;
}

//===----------------------------------------------------------------------===//
// Ranks
//===----------------------------------------------------------------------===//

/// What one rank has of its own.
struct Training::Rank {
  Rank(Meetings &meetings, int64_t number, const ParameterStore &whole, EvaluatorOptions evaluation,
       const TrainingOptions &options, const pipe::PipelineProgram *program)
      : membership{&meetings, number}, parameters(whole, membership, program),
        evaluator(withMembership(std::move(evaluation)), &parameters) {
    if (options.costs)
      membership.clock = &clock.emplace(*options.costs, membership, options.timeline);
    if (program)
      stages.emplace(*program, membership, evaluator, parameters);
  }

  Membership membership;
  std::optional<Clock> clock;
  ParameterStore parameters;
  Evaluator evaluator;
  std::vector<SmallVector<RuntimeValue>> microBatches; ///< their arguments
  std::vector<std::optional<double>> losses; ///< of the micro-batches whose loss it computes
  std::optional<StageRunner> stages;

private:
  EvaluatorOptions withMembership(EvaluatorOptions evaluation) {
    evaluation.membership = &membership;
    return evaluation;
  }
};

static dist::MeshAttr meshOrOneRank(ModuleOp module) {
  module.getContext()->getOrLoadDialect<dist::DistDialect>();
  dist::MeshAttr mesh = dist::meshOf(module);
  return mesh ? mesh : dist::MeshAttr::get(module.getContext(), {}, {});
}

Training::Training(ModuleOp module, const ParameterStore &whole, EvaluatorOptions evaluation,
                   const TrainingOptions &options, std::optional<pipe::PipelineProgram> stages)
    : module(module), options(options), meetings(meshOrOneRank(module)),
      balanced(pipe::balanceRates(module)), program(std::move(stages)) {
  dist::MeshAttr mesh = meetings.getMesh();
  shards = mesh.getSize("dp") * mesh.getSize("ep");
  for (const auto &[name, parameter] : whole.getParameters())
    parameters.push_back(parameter.op);
  const pipe::PipelineProgram *inStages = program ? &*program : nullptr;
  for (int64_t rank = 0; rank < mesh.getRanks(); ++rank)
    ranks.push_back(std::make_unique<Rank>(meetings, rank, whole, evaluation, this->options,
                                           inStages));
  ramp = program ? program->ramp : pipe::batchRampOf(module);
  if (ramp.empty())
    ramp = {{program ? program->rounds[0].microBatches() : 1, 0}};
}

Training::~Training() = default;

/// The axes that split a parameter.
static ArrayAttr splitAxes(pipe::ParameterOp parameter) {
  SmallVector<Attribute> axes;
  if (dist::ShardingAttr sharding = parameter.getShardingAttr())
    for (ArrayAttr dim : sharding.getDims())
      axes.append(dim.begin(), dim.end());
  return ArrayAttr::get(parameter.getContext(), axes);
}

std::optional<Tensor> Training::shardGradient(StringAttr name, int64_t holder) const {
  const auto &own = ranks[holder]->parameters.getParameters().find(name)->second;
  pipe::ParameterOp op = own.op;
  if (!own.gradient || op.getZeroLevel() == 0)
    return own.gradient;
  Tensor shard(op.getLocalType());
  auto to = shard.edit<double>();
  SmallVector<int64_t> group = meetings.getMesh().getGroup(holder, op.getZeroAxesAttr());
  for (auto [member, rank] : llvm::enumerate(group)) {
    const Tensor &gradient = *ranks[rank]->parameters.getParameters().find(name)->second.gradient;
    auto [begin, end] = op.getPiece(member);
    llvm::copy(gradient.floats().slice(op.getZeroLevel() >= 2 ? 0 : begin, end - begin),
               to.begin() + begin);
  }
  return shard;
}

int64_t Training::homeOf(pipe::ParameterOp parameter) const {
  if (!program)
    return 0;
  auto pp = Builder(parameter.getContext()).getStrArrayAttr({"pp"});
  return meetings.getMesh().getGroup(0, pp)[program->holdersOf(parameter.getSymNameAttr())[0]];
}

double Training::gradientNorm() const {
  double sum = 0;
  for (pipe::ParameterOp op : parameters) {
    StringAttr name = op.getSymNameAttr();
    if (balanced.contains(name.getValue()))
      continue;
    for (int64_t holder : meetings.getMesh().getGroup(homeOf(op), splitAxes(op)))
      if (auto gradient = shardGradient(name, holder))
        for (double g : gradient->floats())
          sum += g * g;
  }
  return std::sqrt(sum);
}

std::vector<NamedTensor> Training::namedGradients() const {
  std::vector<NamedTensor> result;
  auto prefix = module->getAttrOfType<StringAttr>("moire.name_prefix");
  for (pipe::ParameterOp op : parameters) {
    StringAttr name = op.getSymNameAttr();
    const int64_t home = homeOf(op);
    if (!ranks[home]->parameters.getParameters().find(name)->second.gradient ||
        balanced.contains(name.getValue()))
      continue;
    Tensor whole(cast<RankedTensorType>(op.getType()));
    for (int64_t holder : meetings.getMesh().getGroup(home, splitAxes(op)))
      insertShard(whole, *shardGradient(name, holder), op.getShardingAttr(), meetings.getMesh(),
                  holder);
    StringRef known = op.getTorchName().value_or(name.getValue());
    if (prefix)
      known.consume_front(prefix.getValue());
    result.push_back({known.str(), std::move(whole)});
  }
  return result;
}

LogicalResult Training::checkReplicas() {
  dist::MeshAttr mesh = meetings.getMesh();
  for (pipe::ParameterOp op : parameters) {
    StringAttr name = op.getSymNameAttr();
    auto valueOn = [&](int64_t rank) -> const Tensor * {
      const auto &held = ranks[rank]->parameters.getParameters();
      auto it = held.find(name);
      return it == held.end() ? nullptr : &it->second.value;
    };
    SmallVector<Attribute> others;
    for (StringAttr axis : mesh.getAxes())
      if (!llvm::is_contained(splitAxes(op), axis) &&
          !(op.getZeroLevel() >= 3 && llvm::is_contained(op.getZeroAxesAttr(), axis)))
        others.push_back(axis);
    for (int64_t rank = 0; rank < mesh.getRanks(); ++rank) {
      if (!valueOn(rank))
        continue; // another stage's
      SmallVector<int64_t> alike = mesh.getGroup(rank, ArrayAttr::get(op.getContext(), others));
      const int64_t like = *llvm::find_if(alike, [&](int64_t other) { return valueOn(other); });
      if (valueOn(rank)->toBytes() != valueOn(like)->toBytes())
        return op.emitError("ranks ")
               << like << " and " << rank << " hold different values of @" << name.getValue()
               << " after step " << step << "; they must hold the same";
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

int64_t StepReport::slowest() const {
  return std::max_element(times.begin(), times.end(),
                          [](const RankTimes &a, const RankTimes &b) {
                            return std::pair(a.step, a.computing) < std::pair(b.step, b.computing);
                          }) -
         times.begin();
}

LogicalResult Training::prepare(const DataFolder &data) {
  microStep = program ? program->first() : module.lookupSymbol<func::FuncOp>("micro_step");
  if (!microStep)
    return module.emitError("has no function @micro_step");
  const std::vector<int64_t> perRound = scheduling::countsOf(ramp);
  const int64_t most = options.accumulate * perRound.back(), count = most * shards;
  std::vector<SmallVector<RuntimeValue>> all(count);
  // Without counted labels N is the number of micro-batches.
  bool counts = moduleAttr(module, "moire.count", "all") != "none";
  counted.assign(count, counts ? 0 : 1);
  const unsigned inputs = program ? program->microBatchArguments() : microStep.getNumArguments();
  for (unsigned i = 0; i < inputs; ++i) {
    StringRef role = argumentAttr(microStep, i, "moire.role");
    if (role == "scale") {
      scale = i;
      for (auto &arguments : all)
        arguments.push_back(Tensor(cast<RankedTensorType>(microStep.getArgument(i).getType())));
      continue;
    }
    FailureOr<std::vector<Tensor>> parts = failure();
    if (role == "labels") {
      // labels.pb, or a graph input of that name.
      if (!data.labels) {
        parts = inputParts(microStep, i, data, count);
      } else {
        auto prepared = prepareLabels(data.labels->tensor);
        if (failed(prepared))
          return failure();
        parts = cut(microStep, i, "labels", *prepared, count);
      }
    } else {
      parts = inputParts(microStep, i, data, count);
    }
    if (failed(parts))
      return failure();
    for (auto [arguments, part, labels] : llvm::zip_equal(all, *parts, counted)) {
      arguments.push_back(part);
      if (role == "labels" && counts)
        labels += countLabels(part);
    }
  }
  const int64_t least = options.accumulate * perRound.front() * shards;
  if (llvm::all_of(ArrayRef(counted).take_front(least), [](int64_t n) { return n == 0; }))
    return module.emitError("no label of '")
           << data.path << "' counts"
           << (least < count ? " in a step of " + std::to_string(least) + " micro-batches" : "")
           << ": all are " << kIgnored;
  dist::MeshAttr mesh = meetings.getMesh();
  for (auto [number, rank] : llvm::enumerate(ranks)) {
    int64_t shard =
        mesh.getCoordinate(number, "dp") * mesh.getSize("ep") + mesh.getCoordinate(number, "ep");
    for (int64_t a = 0; a < most; ++a)
      rank->microBatches.push_back(all[a * shards + shard]);
  }
  return success();
}

void Training::setScale(int64_t microBatches) {
  if (!scale)
    return;
  const ArrayRef<int64_t> labels = ArrayRef(counted).take_front(microBatches * shards);
  const double n = static_cast<double>(std::accumulate(labels.begin(), labels.end(), int64_t(0)));
  for (auto &rank : ranks)
    for (auto &arguments : rank->microBatches) {
      Tensor value(arguments[*scale].tensor().type());
      value.edit<double>()[0] = 1.0 / n;
      if (!options.f64)
        value.round();
      arguments[*scale] = value;
    }
}

LogicalResult Training::runOnAllRanks(StringRef name) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return module.emitError("has no function @") << name;
  return meetings.forAllRanks([&](int64_t rank) {
    SmallVector<RuntimeValue> none;
    return ranks[rank]->evaluator.run(function, {}, none);
  });
}

/// All micro-batches of a rank, one after another.
LogicalResult Training::runMicroBatches(Rank &rank, int64_t count) {
  for (auto [a, arguments] : llvm::enumerate(ArrayRef(rank.microBatches).take_front(count))) {
    rank.parameters.beginMicroBatch(int64_t(a) + 1 == count);
    SmallVector<RuntimeValue> results;
    if (failed(rank.evaluator.run(microStep, arguments, results)))
      return failure();
    if (results.empty() || !results[0].isTensor() || results[0].tensor().size() != 1)
      return microStep.emitError("must return the loss as its first result");
    rank.losses[a] = results[0].tensor().floats()[0];
  }
  return success();
}

/// The schedule of a rank, as often as there are rounds.
LogicalResult Training::runSchedule(Rank &rank, int64_t count) {
  const int64_t each = count / options.accumulate;
  const pipe::PipelineProgram::Round &round = program->rounds[program->roundOf(each)];
  for (int64_t at = 0; at < count; at += each)
    if (failed(rank.stages->run(round, ArrayRef(rank.microBatches).slice(at, each),
                                MutableArrayRef(rank.losses).slice(at, each))))
      return failure();
  rank.parameters.finishTasks();
  return success();
}

FailureOr<StepReport> Training::runStep() {
  const int64_t microBatches = options.accumulate * scheduling::microBatchesAfter(ramp, step);
  setScale(microBatches);
  StepReport report{++step, 0, 0};
  if (failed(meetings.forAllRanks([&](int64_t number) -> LogicalResult {
        Rank &rank = *ranks[number];
        if (rank.clock)
          rank.clock->beginStep();
        rank.parameters.zeroGradients();
        rank.losses.assign(microBatches, std::nullopt);
        return program ? runSchedule(rank, microBatches) : runMicroBatches(rank, microBatches);
      })))
    return failure();
  dist::MeshAttr mesh = meetings.getMesh();
  Builder builder(module.getContext());
  for (int64_t a = 0; a < microBatches; ++a)
    for (int64_t first : mesh.getGroup(0, builder.getStrArrayAttr({"dp", "ep"})))
      for (int64_t rank : mesh.getGroup(first, builder.getStrArrayAttr({"pp"})))
        report.loss += ranks[rank]->losses[a].value_or(0);
  if (module.lookupSymbol("reduce_gradients") && failed(runOnAllRanks("reduce_gradients")))
    return failure();
  report.gradientNorm = gradientNorm();
  for (auto &rank : ranks)
    rank->parameters.beginUpdate(options.hyper, step, report.gradientNorm);
  if (failed(runOnAllRanks("optimizer_step")) || failed(checkReplicas()))
    return failure();
  for (auto &rank : ranks)
    if (rank->stages)
      report.inFlight.push_back(rank->stages->mostInFlight());
  for (auto &rank : ranks)
    if (rank->clock) {
      report.times.push_back(rank->clock->endStep());
      if (options.timeline)
        report.timeline.push_back(rank->clock->getSpans());
    }
  return report;
}
