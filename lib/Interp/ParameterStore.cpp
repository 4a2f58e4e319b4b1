//===- ParameterStore.cpp - The parameters of a running model ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/ParameterStore.h"
#include "dialects/pipe/Gradients.h"
#include "dialects/pipe/PipeBalance.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <limits>
#include <random>
#include <set>

using namespace mlir;
using namespace moire;
using namespace moire::interp;

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

static Tensor transposeLast2(const Tensor &source) {
  SmallVector<int64_t> shape(source.shape());
  std::swap(shape[shape.size() - 2], shape.back());
  Tensor result(source.elementType(), shape);
  int64_t rows = source.shape()[source.rank() - 2], columns = source.shape().back();
  auto to = result.edit<double>();
  for (int64_t i = 0; i < source.size(); ++i) {
    int64_t matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
    to[(matrix * columns + column) * rows + row] = source.floats()[i];
  }
  return result;
}

namespace {
/// The mapped weight files.
class Files {
public:
  explicit Files(StringRef folder) : folder(folder) {}

  FailureOr<ArrayRef<char>> slice(pipe::ParameterOp op, pipe::SourceAttr source) {
    std::string name = source.getFile().str();
    if (name.empty())
      return op.emitError("the value of '")
                 << source.getInitializer().getValue() << "' is not at hand; give --init",
             failure();
    auto &buffer = open[name];
    if (!buffer) {
      SmallString<256> path(folder);
      llvm::sys::path::append(path, name);
      auto file =
          llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
      if (!file)
        return op.emitError("cannot read the weight file '")
                   << path << "': " << file.getError().message()
                   << "; --model-dir names the model's folder",
               failure();
      buffer = std::move(*file);
    }
    int64_t size = buffer->getBufferSize();
    if (source.getOffset() < 0 || source.getBytes() < 0 ||
        source.getOffset() > size - source.getBytes())
      return op.emitError("'") << source.getInitializer().getValue() << "' lies at bytes "
                               << source.getOffset() << ".."
                               << source.getOffset() + source.getBytes() << " of a file of " << size
                               << " bytes",
             failure();
    return ArrayRef<char>(buffer->getBufferStart() + source.getOffset(), source.getBytes());
  }

private:
  StringRef folder;
  llvm::StringMap<std::unique_ptr<llvm::MemoryBuffer>> open;
};
} // namespace

/// The source's part of the parameter, in the parameter's layout.
static FailureOr<Tensor> readPart(pipe::ParameterOp op, pipe::SourceAttr source, Files &files,
                                  ArrayRef<int64_t> shape) {
  auto bytes = files.slice(op, source);
  if (failed(bytes))
    return failure();
  bool transposed = source.getTransform() == pipe::Transform::transpose_last2 ||
                    source.getTransform() == pipe::Transform::slice_transpose;
  SmallVector<int64_t> stored(shape);
  if (transposed && stored.size() < 2)
    return op.emitError("cannot be a transposed '")
               << source.getInitializer().getValue() << "': it has rank " << stored.size(),
           failure();
  if (transposed)
    std::swap(stored[stored.size() - 2], stored.back());
  auto tensor = Tensor::fromBytes(RankedTensorType::get(stored, source.getElementType()), *bytes);
  if (failed(tensor) || !tensor->isFloat())
    return op.emitError("'") << source.getInitializer().getValue() << "' has " << bytes->size()
                             << " bytes of " << source.getElementType() << ", which do not fill "
                             << op.getType(),
           failure();
  return transposed ? transposeLast2(*tensor) : *tensor;
}

/// Copies floats from one element type to another.
static void copyFloats(const Tensor &from, Tensor &to, int64_t offset) {
  llvm::copy(from.floats(), to.edit<double>().begin() + offset);
}

static FailureOr<Tensor> readParameter(pipe::ParameterOp op, Files &files) {
  auto type = cast<RankedTensorType>(op.getType());
  Tensor value(type);
  auto sources = op.getSources().getAsRange<pipe::SourceAttr>();
  // A source that is not a slice holds all of it; several are copies.
  for (pipe::SourceAttr source : sources) {
    if (source.getTransform() == pipe::Transform::slice ||
        source.getTransform() == pipe::Transform::slice_transpose)
      continue;
    auto whole = readPart(op, source, files, type.getShape());
    if (failed(whole))
      return failure();
    copyFloats(*whole, value, 0);
    value.round();
    return value;
  }
  int64_t partSize = type.getDimSize(0) ? type.getNumElements() / type.getDimSize(0) : 0;
  for (pipe::SourceAttr source : sources) {
    auto part = readPart(op, source, files, type.getShape().drop_front());
    if (failed(part))
      return failure();
    copyFloats(*part, value, source.getIndex() * partSize);
  }
  value.round();
  return value;
}

LogicalResult ParameterStore::load(ModuleOp module, StringRef folder) {
  Files files(folder);
  for (auto op : module.getOps<pipe::ParameterOp>()) {
    auto value = readParameter(op, files);
    if (failed(value))
      return failure();
    parameters[op.getSymNameAttr()] = {op, *value, {}, {}, {}};
  }
  return success();
}

LogicalResult ParameterStore::init(ModuleOp module, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  for (auto op : module.getOps<pipe::ParameterOp>()) {
    StringRef kind = op.getInit().value_or("normal");
    Tensor value = Tensor::splat(cast<RankedTensorType>(op.getType()), kind == "ones");
    if (kind == "normal") {
      double deviation = op.getInitStd() ? op.getInitStd()->convertToDouble() : 0.02;
      for (double &x : value.edit<double>())
        x = deviation * normal(engine);
      value.round();
    }
    parameters[op.getSymNameAttr()] = {op, value, {}, {}, {}};
  }
  return success();
}

/// Not to be read: wrong wherever it is.
static const double kNothing = std::numeric_limits<double>::quiet_NaN();

/// A member's piece of a shard.
static Tensor pieceOf(pipe::ParameterOp op, const Tensor &shard, int64_t member) {
  Tensor piece(op.getPieceType());
  auto to = piece.edit<double>();
  std::fill(to.begin(), to.end(), kNothing);
  auto [begin, end] = op.getPiece(member);
  llvm::copy(shard.floats().slice(begin, end - begin), to.begin());
  return piece;
}

/// Forgets what lies outside of [begin, end).
static void keep(Tensor &tensor, int64_t begin, int64_t end) {
  auto values = tensor.edit<double>();
  std::fill(values.begin(), values.begin() + begin, kNothing);
  std::fill(values.begin() + end, values.end(), kNothing);
}

std::pair<int64_t, int64_t> ParameterStore::ownedOf(pipe::ParameterOp op) const {
  if (op.getZeroLevel() == 0)
    return {0, op.getLocalType().getNumElements()};
  return op.getPiece(membership->place(op.getZeroAxesAttr()).first);
}

ParameterStore::ParameterStore(const ParameterStore &whole, const Membership &membership,
                               const pipe::PipelineProgram *program)
    : f64(whole.f64), membership(&membership), program(program) {
  const int64_t stageRank = membership.mesh().getCoordinate(membership.rank, "pp");
  for (const auto &[name, parameter] : whole.parameters) {
    if (program && !llvm::is_contained(program->holdersOf(name), stageRank))
      continue;
    pipe::ParameterOp op = parameter.op;
    Tensor shard =
        shardOf(parameter.value, op.getShardingAttr(), membership.mesh(), membership.rank);
    if (op.getZeroLevel() >= 3)
      shard = pieceOf(op, shard, membership.place(op.getZeroAxesAttr()).first);
    parameters[name] = {op, std::move(shard), {}, {}, {}};
  }
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

int ParameterStore::copyOf(Operation *op) const {
  return current >= 0 && op->hasAttr(pipe::kSecondAttr) ? currentSecond : current;
}

StringAttr ParameterStore::nameFor(Operation *op, StringAttr name) const {
  const int copy = copyOf(op);
  return copy >= 0 && program ? program->parameterOf(copy % program->numStages(), name) : name;
}

LogicalResult ParameterStore::evaluate(Operation *op, ArrayRef<RuntimeValue> operands,
                                       SmallVectorImpl<RuntimeValue> &results) {
  auto find = [&](StringAttr name) -> Parameter * {
    auto it = parameters.find(name);
    return it == parameters.end() ? nullptr : &it->second;
  };
  auto unknown = [&](StringRef name) {
    return op->emitOpError("names @") << name << ", which has no value here";
  };
  if (auto read = dyn_cast<pipe::ReadOp>(op)) {
    Parameter *parameter = find(nameFor(op, read.getParameterAttr().getAttr()));
    if (!parameter)
      return unknown(read.getParameter());
    results.push_back(parameter->value);
    return success();
  }
  if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op)) {
    Parameter *parameter = find(nameFor(op, accumulate.getParameterAttr().getAttr()));
    if (!parameter)
      return unknown(accumulate.getParameter());
    const Tensor &addend = operands[0].tensor();
    if (const int number = copyOf(op); number >= 0) {
      auto [copy, isNew] = parameter->copies.try_emplace(number, addend);
      if (!isNew)
        addTo(copy->second, addend);
    } else if (parameter->gradient) {
      addTo(*parameter->gradient, addend);
    } else {
      parameter->gradient = addend;
    }
    return success();
  }
  if (auto sum = dyn_cast<pipe::SumCopiesOp>(op)) {
    if (membership && program && membership->clock && failed(passCopies(sum)))
      return failure();
    for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>())
      if (failed(sumCopies(op, name.getAttr())))
        return failure();
    return success();
  }
  if (isa<pipe::PublishOp>(op))
    return success();
  if (auto start = dyn_cast<pipe::StartReduceOp>(op)) {
    if (!inLastMicroBatch)
      return success();
    Operation *sum = start.getStarted();
    if (!sum || failed(move(sum, /*starts=*/sum)))
      return failure();
    started.insert(sum);
    return success();
  }
  if (started.contains(op)) {
    if (membership->clock)
      membership->clock->waitFor(op);
    return success();
  }
  if (isa<pipe::ReduceGradsOp, pipe::GatherOp>(op))
    return move(op, /*starts=*/nullptr);
  if (auto updateOp = dyn_cast<pipe::UpdateOp>(op)) {
    Parameter *parameter = find(updateOp.getParameterAttr().getAttr());
    if (!parameter && program)
      return success();
    if (!parameter)
      return unknown(updateOp.getParameter());
    if (parameter->gradient && membership && membership->clock)
      membership->clock->compute(op);
    update(*parameter, updateOp);
    return success();
  }
  if (auto balance = dyn_cast<pipe::BalanceOp>(op)) {
    Parameter *parameter = find(balance.getParameterAttr().getAttr());
    if (!parameter && program)
      return success();
    if (!parameter)
      return unknown(balance.getParameter());
    const double rate = balance.getRate().convertToDouble();
    auto value = parameter->value.edit<double>();
    for (int64_t i = 0; parameter->gradient && i < parameter->value.size(); ++i) {
      const double excess = parameter->gradient->floats()[i];
      value[i] -= excess > 0 ? rate : excess < 0 ? -rate : 0;
    }
    if (!f64)
      parameter->value.round();
    return success();
  }
  return op->emitOpError("cannot be executed by the interpreter");
}

LogicalResult ParameterStore::move(Operation *op, Operation *starts) {
  if (!membership)
    return op->emitOpError("needs the other ranks of the mesh, which are not at hand here");
  // Of a pipeline a rank has some of the parameters.
  double held = 0, all = 0;
  for (auto name : op->getAttrOfType<ArrayAttr>("parameters").getAsRange<FlatSymbolRefAttr>()) {
    auto named = SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(op, name);
    const double size = named ? double(named.getLocalType().getNumElements()) : 0;
    all += size;
    held += parameters.count(name.getAttr()) ? size : 0;
  }
  if (membership->clock && (held > 0 || !program) &&
      failed(membership->clock->transfer(op, {}, starts, program ? held / all : 1)))
    return failure();
  ArrayAttr axes = dist::axesOf(op);
  for (auto name : op->getAttrOfType<ArrayAttr>("parameters").getAsRange<FlatSymbolRefAttr>()) {
    auto it = parameters.find(name.getAttr());
    if (it == parameters.end() && program)
      continue; // of other stages
    if (it == parameters.end())
      return op->emitOpError("names @") << name.getValue() << ", which has no value here";
    Parameter &parameter = it->second;
    if (!parameter.gradient && isa<pipe::ReduceGradsOp>(op))
      parameter.gradient = Tensor(parameter.value.type());
    auto given = membership->meet(
        op, axes, isa<pipe::ReduceGradsOp>(op) ? *parameter.gradient : parameter.value);
    if (failed(given))
      return failure();
    if (auto reduce = dyn_cast<pipe::ReduceGradsOp>(op)) {
      parameter.gradient = sumOf(*given);
      if (!f64)
        parameter.gradient->round();
      if (reduce.getScatter()) {
        auto [begin, end] = ownedOf(parameter.op);
        keep(*parameter.gradient, begin, end);
      }
      continue;
    }
    auto to = parameter.value.edit<double>();
    for (auto [member, value] : llvm::enumerate(*given)) {
      auto [begin, end] = parameter.op.getPiece(member);
      llvm::copy(value.tensor().floats().slice(begin, end - begin), to.begin() + begin);
    }
  }
  return success();
}

void ParameterStore::addTo(Tensor &sum, const Tensor &addend) const {
  auto to = sum.edit<double>();
  for (int64_t i = 0; i < addend.size(); ++i)
    to[i] += addend.floats()[i];
  if (!f64)
    sum.round();
}

/// All ranks of pp meet once for each copy, those that hold nothing of it with an empty tensor.
/// The time in which ranks of pp send each other what they accumulated for parameters of both.
LogicalResult ParameterStore::passCopies(Operation *op) {
  const int own = int(membership->mesh().getCoordinate(membership->rank, "pp"));
  std::set<int> peers;
  int64_t bytes = 0;
  for (auto name : cast<pipe::SumCopiesOp>(op).getParameters().getAsRange<FlatSymbolRefAttr>()) {
    const SmallVector<int> holders = program->holdersOf(name.getAttr());
    if (!llvm::is_contained(holders, own))
      continue;
    peers.insert(holders.begin(), holders.end());
    auto parameter = SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(op, name);
    for (const auto &copy : program->copiesOf(name.getAttr()))
      if (copy.rank == own)
        bytes += parameter.getGradientType().getNumElements() * 4 * int64_t(holders.size() - 1);
  }
  Tensor arrives(Float64Type::get(op->getContext()), {1});
  arrives.edit<double>()[0] = bytes > 0 ? membership->clock->send(bytes, membership->clock->getNow()) : 0;
  auto all = membership->meet(op, Builder(op->getContext()).getStrArrayAttr({"pp"}), arrives);
  if (failed(all))
    return failure();
  for (int peer : peers)
    if (peer != own)
      membership->clock->receive((*all)[peer].tensor().floats()[0]);
  return success();
}

LogicalResult ParameterStore::sumCopies(Operation *op, StringAttr name) {
  if (!membership || !program)
    return op->emitOpError("needs the stages of a pipeline, which are not at hand here");
  const int64_t own = membership->mesh().getCoordinate(membership->rank, "pp");
  auto pp = Builder(op->getContext()).getStrArrayAttr({"pp"});
  auto it = parameters.find(name);
  std::optional<Tensor> sum;
  for (const auto &copy : program->copiesOf(name)) {
    const int number = copy.path * program->numStages() + copy.stage;
    Tensor mine(FloatType::getF32(op->getContext()), {0});
    if (copy.rank == own)
      if (auto held = it->second.copies.find(number); held != it->second.copies.end())
        mine = held->second;
    auto given = membership->meet(op, pp, mine);
    if (failed(given))
      return failure();
    const Tensor &value = (*given)[copy.rank].tensor();
    if (value.size() == 0)
      continue;
    if (sum)
      addTo(*sum, value);
    else
      sum = value;
  }
  if (it != parameters.end())
    it->second.gradient = sum;
  return success();
}

void ParameterStore::finishTasks() {
  current = -1;
  for (auto &[name, parameter] : parameters)
    if (!program->sumsCopies(name) && !parameter.copies.empty())
      parameter.gradient = parameter.copies.begin()->second;
}

void ParameterStore::zeroGradients() {
  started.clear();
  for (auto &[name, parameter] : parameters) {
    parameter.gradient.reset();
    parameter.copies.clear();
  }
}

void ParameterStore::beginUpdate(const HyperParameters &values, int64_t number, double norm) {
  hyper = values;
  step = number;
  // torch.nn.utils.clip_grad_norm_.
  gradientScale = hyper.clip > 0 ? std::min(1.0, hyper.clip / (norm + 1e-6)) : 1;
}

// torch.optim.SGD:   g += decay * p;  b = momentum * b + g (the first time b = g);
//                    p -= rate * b.
// torch.optim.AdamW: p *= 1 - rate * decay;  m = beta1 * m + (1 - beta1) * g;
//                    v = beta2 * v + (1 - beta2) * g^2;
//                    p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
// A parameter without a gradient is left alone. Of a divided one (zero) the owned
// elements move.
void ParameterStore::update(Parameter &parameter, pipe::UpdateOp op) {
  if (!parameter.gradient)
    return;
  bool adamw = op.getOptimizer() == pipe::Optimizer::adamw;
  double decay = hyper.decay.value_or(adamw ? 0.01 : 0);
  if (hyper.decayMatricesOnly && !op.getMatrix())
    decay = 0;
  bool isFirst = !parameter.first;
  int64_t level = parameter.op.getZeroLevel();
  auto [begin, end] = ownedOf(parameter.op);
  int64_t size = end - begin;
  RankedTensorType state = level > 0 ? parameter.op.getPieceType() : parameter.op.getLocalType();
  if (isFirst)
    parameter.first = Tensor(state);
  if (adamw && !parameter.second)
    parameter.second = Tensor(state);
  auto p = parameter.value.edit<double>().slice(level >= 3 ? 0 : begin, size);
  auto m = parameter.first->edit<double>();
  auto gradient = parameter.gradient->floats().slice(level >= 2 ? 0 : begin, size);
  if (adamw) {
    auto v = parameter.second->edit<double>();
    double rate = hyper.rate / (1 - std::pow(hyper.beta1, step));
    double correction = std::sqrt(1 - std::pow(hyper.beta2, step));
    for (size_t i = 0; i < p.size(); ++i) {
      double g = gradient[i] * gradientScale;
      p[i] *= 1 - hyper.rate * decay;
      m[i] = hyper.beta1 * m[i] + (1 - hyper.beta1) * g;
      v[i] = hyper.beta2 * v[i] + (1 - hyper.beta2) * g * g;
      p[i] -= rate * m[i] / (std::sqrt(v[i]) / correction + hyper.epsilon);
    }
  } else {
    for (size_t i = 0; i < p.size(); ++i) {
      double g = gradient[i] * gradientScale + decay * p[i];
      m[i] = isFirst ? g : hyper.momentum * m[i] + g;
      p[i] -= hyper.rate * m[i];
    }
  }
  if (level == 1 || level == 2)
    keep(parameter.value, begin, end);
  if (f64)
    return;
  parameter.value.round();
  parameter.first->round();
  if (parameter.second)
    parameter.second->round();
}
