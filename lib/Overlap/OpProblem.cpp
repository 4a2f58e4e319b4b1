//===- OpProblem.cpp - A block of ops as a scheduling problem ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "OpProblem.h"
#include "ExpertChain.h"
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moire/Overlap/PartTimes.h"
#include "moire/Pipe/PipelineProgram.h"
#include "llvm/ADT/MapVector.h"
#include <map>

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

namespace {
class ProblemBuilder {
public:
  ProblemBuilder(Block &block, const Rates &rates, bool inParts)
      : block(block), rates(rates), inParts(inParts) {}
  OpProblem run();

private:
  int taskOf(Value value) const;
  void after(int later, int earlier);
  void keepOrder(SmallVector<Operation *> ops);
  void readValues(Operation *op, int task);
  double partOf(Operation *op);
  int bufferOf(Value value);
  void keepSummands();
  void keepProducts(arith::AddFOp op);
  void keepEffects(Operation *op);
  void keepLogits(nn::CrossEntropyGradOp op);
  void readArguments();
  void findJobs();
  void findOutputs();
  void moveInParts(ExpertChain &chain);

  Block &block;
  const Rates &rates;
  const bool inParts;
  OpProblem result;
  llvm::DenseMap<Operation *, int> index;
  llvm::DenseMap<Value, int> buffers;
  llvm::DenseMap<Value, double> parts; ///< of rows of experts: what is there of the room
  llvm::DenseMap<Attribute, Operation *> changedBy; ///< by the parameter's name
};
} // namespace

/// The task that gives a value; -1: an argument.
int ProblemBuilder::taskOf(Value value) const {
  Operation *def = value.getDefiningOp();
  if (auto wait = dyn_cast_or_null<dist::WaitOp>(def))
    def = wait.getAsync();
  auto it = index.find(def);
  return it == index.end() ? -1 : it->second;
}

void ProblemBuilder::after(int later, int earlier) {
  std::vector<int> &list = result.problem.tasks[later].after;
  if (earlier >= 0 && earlier < later && !llvm::is_contained(list, earlier))
    list.push_back(earlier);
}

/// These ops stay in the order in which they stand.
void ProblemBuilder::keepOrder(SmallVector<Operation *> ops) {
  llvm::erase_if(ops, [&](Operation *op) { return !index.count(op); });
  llvm::sort(ops, [&](Operation *a, Operation *b) { return index[a] < index[b]; });
  for (size_t i = 1; i < ops.size(); ++i)
    after(index[ops[i]], index[ops[i - 1]]);
}

static bool isView(Operation *op) {
  return isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp,
                         nn::ReverseOp>(op);
}

/// The buffer that a value lies in; -1: in none of the arena.
int ProblemBuilder::bufferOf(Value value) {
  if (auto wait = value.getDefiningOp<dist::WaitOp>())
    value = wait.getFutures()[cast<OpResult>(value).getResultNumber()];
  if (auto known = buffers.find(value); known != buffers.end())
    return known->second;
  Operation *def = value.getDefiningOp();
  int buffer = -1;
  Type type = value.getType();
  if (auto future = dyn_cast<dist::FutureType>(type))
    type = future.getValue();
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (isView(def)) {
    buffer = bufferOf(def->getOperand(0));
  } else if (def && tensor && tensor.hasStaticShape() && tensor.getElementType().isIntOrFloat() &&
             !isa<arith::ConstantOp, tensor::EmptyOp, pipe::ReadOp>(def) &&
             // What goes to a gradient alone is written there.
             !(value.hasOneUse() && isa<pipe::AccumulateOp>(*value.user_begin()))) {
    buffer = int(result.problem.bufferBytes.size());
    result.problem.bufferBytes.push_back(tensor.getNumElements() *
                                         std::max<int64_t>(1, tensor.getElementTypeBitWidth() / 8));
  }
  buffers[value] = buffer;
  return buffer;
}

void ProblemBuilder::readValues(Operation *op, int task) {
  Task &own = result.problem.tasks[task];
  auto use = [&](Value value) {
    if (int buffer = bufferOf(value); buffer >= 0 && !llvm::is_contained(own.buffers, buffer))
      own.buffers.push_back(buffer);
  };
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (operand.getParentBlock() == &block) {
        after(task, taskOf(operand));
        use(operand);
      }
  });
  for (Value value : op->getResults())
    use(value);
}

/// Where rows of experts have come from other ranks, there is room for all that could. Where
/// routing spreads them evenly, as many come as the rank sends. Notes the op's results.
double ProblemBuilder::partOf(Operation *op) {
  double part = 1;
  int64_t rows = -1;
  for (Value operand : op->getOperands())
    if (auto it = parts.find(dist::behindWait(operand)); it != parts.end()) {
      part = std::min(part, it->second);
      rows = cast<RankedTensorType>(operand.getType()).getDimSize(0);
    }
  if (auto move = dyn_cast<dist::AllToAllRowsOp>(op)) {
    dist::ExchangeType type = move.getExchange().getType();
    if (!move.getBack() && type.getReceived() > 0)
      parts[move.getResult()] = double(type.getSent()) / double(type.getReceived());
    return 1;
  }
  for (Value result : op->getResults())
    if (auto tensor = dyn_cast<RankedTensorType>(result.getType());
        part < 1 && tensor && tensor.getRank() > 0 && tensor.getDimSize(0) == rows)
      parts[result] = part;
  return part;
}

/// What another function of a stage has kept may be rows of experts, too.
void ProblemBuilder::readArguments() {
  std::map<int64_t, double> there; // by the room
  for (BlockArgument argument : block.getArguments())
    if (auto type = dyn_cast<dist::ExchangeType>(argument.getType());
        type && type.getReceived() > 0)
      there[type.getReceived()] = double(type.getSent()) / double(type.getReceived());
  for (BlockArgument argument : block.getArguments())
    if (auto tensor = dyn_cast<RankedTensorType>(argument.getType());
        tensor && tensor.getRank() > 0)
      if (auto it = there.find(tensor.getDimSize(0)); it != there.end())
        parts[argument] = it->second;
}

/// Of a function of two tasks: what the second one's arguments lead to, and what that alone needs.
void ProblemBuilder::findJobs() {
  auto func = dyn_cast<func::FuncOp>(block.getParentOp());
  if (!func || !func->hasAttr(pipe::kPairAttr))
    return;
  std::vector<int> job(result.ops.size(), -1);
  auto note = [&](int task, int other) {
    if (job[task] < 0)
      job[task] = other;
  };
  for (size_t i = 0; i < result.ops.size(); ++i)
    result.ops[i]->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        if (auto argument = dyn_cast<BlockArgument>(operand);
            argument && argument.getOwner() == &block)
          note(int(i), func.getArgAttr(argument.getArgNumber(), pipe::kSecondAttr) ? 1 : 0);
        else if (int other = taskOf(operand); other >= 0 && job[other] >= 0)
          note(int(i), job[other]);
      }
    });
  for (size_t i = result.ops.size(); i-- > 0;)
    for (int other : result.problem.tasks[i].after)
      if (job[i] >= 0)
        note(other, job[i]);
  for (auto [task, found] : llvm::zip(result.problem.tasks, job))
    task.job = std::max(0, found);
}

/// What a stage sends to the stages beside it.
void ProblemBuilder::findOutputs() {
  auto func = dyn_cast<func::FuncOp>(block.getParentOp());
  if (!func)
    return;
  for (auto [i, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    const pipe::Port port = pipe::resultPort(func, i);
    if (port.role != pipe::kOutputAttr && port.role != pipe::kInputCotangentAttr)
      continue;
    result.problem.outputs.resize(2);
    if (int task = taskOf(value); task >= 0)
      result.problem.outputs[port.second].push_back(task);
  }
}

/// What gives the summands of a parameter's cotangents, in passes that look for them
/// (`lower-to-exec`). Two tasks may add to one gradient: the first one's first.
void ProblemBuilder::keepSummands() {
  llvm::MapVector<Attribute, SmallVector<Operation *>> producers;
  for (Operation *op : result.ops) {
    auto accumulate = dyn_cast<pipe::AccumulateOp>(op);
    if (!accumulate)
      continue;
    SmallVector<Operation *> &own = producers[accumulate.getParameterAttr()];
    SmallVector<Value> todo{accumulate.getGradient()};
    while (!todo.empty()) {
      Operation *def = todo.pop_back_val().getDefiningOp();
      if (!def || isa<dist::WaitOp>(def))
        continue;
      own.push_back(def);
      if (isa<arith::AddFOp, nn::ConcatOp>(def) || isView(def))
        todo.append(def->operand_begin(), def->operand_end());
      else if (isa<nn::ScatterOp>(def))
        todo.push_back(def->getOperand(0));
    }
  }
  for (auto &[name, ops] : producers)
    if (ops.size() > 1)
      keepOrder(ops);
}

/// Of a sum of two products the later one is added to the other; the gradient of a norm
/// takes along what is there before it.
void ProblemBuilder::keepProducts(arith::AddFOp op) {
  Operation *lhs = op.getLhs().getDefiningOp(), *rhs = op.getRhs().getDefiningOp();
  auto mayTake = [](Operation *def) {
    return isa_and_nonnull<nn::MatmulOp, nn::LayerNormGradOp, nn::RMSNormGradOp>(def);
  };
  if (!lhs || !rhs || (!mayTake(lhs) && !mayTake(rhs)))
    return;
  for (Operation **def : {&lhs, &rhs})
    if (auto wait = dyn_cast<dist::WaitOp>(*def))
      *def = wait.getAsync();
  if (lhs != rhs)
    keepOrder({lhs, rhs});
}

/// Ops that name one parameter, and change it or its gradient, keep their order.
void ProblemBuilder::keepEffects(Operation *op) {
  if (isMemoryEffectFree(op))
    return;
  const int task = index[op];
  op->walk([&](Operation *inner) {
    inner->getAttrDictionary().walk([&](SymbolRefAttr name) {
      auto [last, isNew] = changedBy.try_emplace(name, op);
      if (!isNew) {
        after(task, index[last->second]);
        last->second = op;
      }
    });
  });
}

void ProblemBuilder::keepLogits(nn::CrossEntropyGradOp op) {
  constexpr int64_t kSmallest = 1 << 20; // of --logits-limit
  RankedTensorType type = op.getLogits().getType();
  if (type.getNumElements() * type.getElementTypeBitWidth() / 8 <= kSmallest)
    return;
  for (Operation *reader : op.getResult().getUsers()) {
    auto it = index.find(reader);
    if (it == index.end())
      continue;
    for (size_t i = it->second + 1; i < result.ops.size(); ++i)
      if (result.problem.tasks[i].resource == Resource::network)
        after(int(i), it->second);
  }
}

/// Of a transfer in parts only the first one, or the last one on the way back, has a time of its
/// own; the others move while experts of other parts compute.
void ProblemBuilder::moveInParts(ExpertChain &chain) {
  Task &come = result.problem.tasks[index.lookup(chain.come)];
  Task &back = result.problem.tasks[index.lookup(chain.back)];
  const double more = double(chain.getParts() - 1);
  double compute = 0, launches = 0;
  Task *last = nullptr;
  for (Operation *op : chain.ops)
    if (Task &task = result.problem.tasks[index.lookup(op)]; task.seconds > 0) {
      compute += task.seconds;
      ++launches;
      last = &task;
    }
  const double comes = come.seconds + more * rates.latency,
               goes = back.seconds + more * rates.latency;
  const PartTimes times =
      partTimes(chain.getParts(), comes, compute + more * launches * rates.overhead, goes);
  come.seconds = times.first;
  come.beside = comes - times.first;
  back.seconds = times.rest;
  back.beside = goes - times.rest;
  if (last)
    last->seconds += times.span - compute;
}

OpProblem ProblemBuilder::run() {
  readArguments();
  for (Operation &op : block.without_terminator()) {
    if (isa<dist::WaitOp>(op))
      continue;
    const int task = int(result.ops.size());
    index[&op] = task;
    result.ops.push_back(&op);
    Task &own = result.problem.tasks.emplace_back();
    if (auto async = dyn_cast<dist::AsyncOp>(op)) {
      own.resource = Resource::network;
      for (Operation &inner : async.getBody().front().without_terminator()) {
        own.seconds += transferSeconds(&inner, rates);
        partOf(&inner);
      }
    } else if (auto start = dyn_cast<pipe::StartReduceOp>(op)) {
      own.resource = Resource::network;
      own.seconds = transferSeconds(start.getStarted(), rates);
    } else if (auto publish = dyn_cast<pipe::PublishOp>(op)) {
      for (unsigned i : publish.getPublished())
        after(task, taskOf(block.getTerminator()->getOperand(i)));
    } else {
      const double part = partOf(&op);
      own.seconds =
          dist::isCollective(&op) ? transferSeconds(&op, rates) : secondsOf(&op, rates, part);
    }
    readValues(&op, task);
    keepEffects(&op);
  }
  for (Operation *op : result.ops) {
    if (auto sum = dyn_cast<arith::AddFOp>(op))
      keepProducts(sum);
    else if (auto grad = dyn_cast<nn::CrossEntropyGradOp>(op))
      keepLogits(grad);
  }
  keepSummands();
  findJobs();
  findOutputs();
  if (inParts)
    for (auto async : block.getOps<dist::AsyncOp>())
      if (std::optional<ExpertChain> chain = findChain(async); chain && chain->getParts() > 1)
        moveInParts(*chain);
  return std::move(result);
}

OpProblem overlap::makeProblem(Block &block, const Rates &rates, bool inParts) {
  return ProblemBuilder(block, rates, inParts).run();
}

void overlap::applyOrder(Block &block, const OpProblem &problem, ArrayRef<int> order) {
  Operation *end = block.getTerminator();
  SmallVector<dist::WaitOp> waits(block.getOps<dist::WaitOp>());
  llvm::DenseSet<Operation *> placed;
  auto waitFor = [&](Operation *op) {
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (auto wait = operand.getDefiningOp<dist::WaitOp>(); wait && placed.insert(wait).second)
          wait->moveBefore(end);
    });
  };
  for (int task : order) {
    waitFor(problem.ops[task]);
    problem.ops[task]->moveBefore(end);
  }
  waitFor(end);
  for (dist::WaitOp wait : waits)
    if (placed.insert(wait).second)
      wait->moveBefore(end);
}
