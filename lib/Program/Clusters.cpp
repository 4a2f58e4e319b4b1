//===- Clusters.cpp - Which elementwise ops become one kernel ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Clusters.h"
#include "Elementwise.h"
#include "dialects/exec/Exec.h"
#include "dialects/pipe/Pipe.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {

/// Library kernels that a cluster may reach over: its operands live that much
/// longer.
constexpr int64_t kReach = 4;
/// Operands and results of one kernel: more spill registers.
constexpr size_t kMaxOperands = 20;
/// Ops that are computed again for one value.
constexpr size_t kMaxRecomputed = 32;

class Clustering {
public:
  Clustering(func::FuncOp func, const Folds &folds) : func(func), folds(folds) {}
  std::vector<Cluster> run();

private:
  struct State {
    Cluster cluster;
    bool open = true;
    int64_t lastLibraryCall = 0; ///< library calls before its last op
    llvm::SmallSetVector<Value, 8> operands; ///< read from memory, of full size
  };

  func::FuncOp func;
  const Folds &folds;
  std::vector<State> states;
  DenseMap<Operation *, int> home;      ///< the cluster that an op was put in
  DenseMap<Value, SmallVector<int>> readers; ///< clusters that read a value
  DenseMap<Operation *, int64_t> order;

  bool isFusible(Operation *op) const { return isElementwise(op) && !folds.keeps(op); }
  /// Operands that cost nothing: constants, coordinates, repeated rows.
  static bool isFree(Value value) {
    Operation *def = value.getDefiningOp();
    return splatValue(value) || isa_and_nonnull<nn::BroadcastOp, nn::IotaOp>(def);
  }
  void join(Operation *op, int64_t libraryCalls);
  bool fits(int cluster, Operation *op, int64_t libraryCalls) const;
  void close(Operation *op);
  void recompute();
  bool tryRecompute(int reader, Value value);
  bool storedAnyway(Value value, int64_t position) const;
  bool livesUntil(Value value, int64_t position) const;
  SmallVector<Value> reads(int cluster) const;
  void findResults();
};

/// Closes the clusters that an op outside reads from.
void Clustering::close(Operation *op) {
  for (Value operand : op->getOperands())
    if (Operation *def = operand.getDefiningOp())
      if (auto it = home.find(def); it != home.end())
        states[it->second].open = false;
}

bool Clustering::fits(int index, Operation *op, int64_t libraryCalls) const {
  const State &state = states[index];
  if (!state.open || libraryCalls - state.lastLibraryCall > kReach)
    return false;
  Value any = state.cluster.ops.front()->getResult(0);
  return shapeOf(any) == shapeOf(op->getResult(0));
}

void Clustering::join(Operation *op, int64_t libraryCalls) {
  // 1. The clusters that this op may join, the lowest number first.
  llvm::SmallSetVector<int, 4> candidates;
  for (Value operand : op->getOperands()) {
    if (Operation *def = operand.getDefiningOp())
      if (auto it = home.find(def); it != home.end() && fits(it->second, op, libraryCalls))
        candidates.insert(it->second);
    if (!isFree(operand))
      for (int reader : readers.lookup(operand))
        if (fits(reader, op, libraryCalls))
          candidates.insert(reader);
  }
  SmallVector<int> merged = llvm::to_vector(candidates);
  llvm::sort(merged);
  // 2. Unless that makes it too wide.
  llvm::SmallSetVector<Value, 8> operands;
  for (Value operand : op->getOperands())
    if (!isFree(operand) && !home.count(operand.getDefiningOp()))
      operands.insert(operand);
  SmallVector<int> taken;
  for (int candidate : merged) {
    auto wider = operands;
    wider.insert(states[candidate].operands.begin(), states[candidate].operands.end());
    if (wider.size() > kMaxOperands)
      continue;
    operands = wider;
    taken.push_back(candidate);
  }
  // 3. Into one.
  int index;
  if (taken.empty()) {
    index = states.size();
    states.emplace_back();
  } else {
    index = taken.front();
    for (int other : ArrayRef<int>(taken).drop_front()) {
      for (Operation *member : states[other].cluster.ops) {
        states[index].cluster.ops.insert(member);
        home[member] = index;
      }
      states[other].cluster.ops.clear();
      states[other].open = false;
    }
  }
  State &state = states[index];
  state.cluster.ops.insert(op);
  state.cluster.position = op->getNextNode();
  state.lastLibraryCall = libraryCalls;
  state.operands = operands;
  for (Value operand : op->getOperands()) {
    if (Operation *def = operand.getDefiningOp())
      if (auto it = home.find(def); it != home.end() && it->second != index) {
        states[it->second].open = false;
        state.operands.insert(operand);
      }
    if (!isFree(operand))
      readers[operand].push_back(index);
  }
  home[op] = index;
}

/// What a cluster reads from memory or repeats, in order of first use.
SmallVector<Value> Clustering::reads(int index) const {
  llvm::SmallSetVector<Value, 8> values;
  for (Operation *op : states[index].cluster.ops)
    for (Value operand : op->getOperands())
      if (!states[index].cluster.ops.contains(operand.getDefiningOp()))
        values.insert(operand);
  return llvm::to_vector(values);
}

/// Whether something other than an elementwise op needs the value in memory, at
/// or after a position.
bool Clustering::storedAnyway(Value value, int64_t position) const {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (isViewOp(user))
      return storedAnyway(user->getResult(0), position);
    return !isFusible(user) && order.lookup(user) >= position;
  });
}

/// Whether a value is in memory until a position without our doing.
bool Clustering::livesUntil(Value value, int64_t position) const {
  Operation *def = value.getDefiningOp();
  if (!def || isa<pipe::ReadOp, arith::ConstantOp>(def) || isShadow(def))
    return true;
  return isViewOp(def) ? livesUntil(def->getOperand(0), position) || storedAnyway(value, position)
                       : storedAnyway(value, position);
}

/// Computes `value`, which another cluster makes, again in `reader`, if that
/// reads nothing more, or something as small that lives as long anyway.
bool Clustering::tryRecompute(int reader, Value value) {
  State &state = states[reader];
  int64_t position = order.lookup(state.cluster.ops.back());
  if (storedAnyway(value, position))
    return false;
  SmallVector<Value> known = reads(reader);
  llvm::SmallSetVector<Operation *, 16> ops;
  llvm::SmallSetVector<Value, 4> extra;
  SmallVector<Value> todo{value};
  while (!todo.empty()) {
    Value v = todo.pop_back_val();
    Operation *def = v.getDefiningOp();
    if (isFree(v) || (v != value && llvm::is_contained(known, v)) ||
        (def && state.cluster.ops.contains(def)))
      continue;
    if (!def || !isFusible(def)) {
      extra.insert(v);
      continue;
    }
    if (!ops.insert(def))
      continue;
    if (ops.size() > kMaxRecomputed)
      return false;
    llvm::append_range(todo, def->getOperands());
  }
  auto bytes = [](Value v) {
    auto type = cast<RankedTensorType>(v.getType());
    return type.getNumElements() * exec::elementBytes(type.getElementType());
  };
  int64_t more = 0;
  for (Value v : extra) {
    if (!livesUntil(v, position))
      return false;
    more += bytes(v);
  }
  // Another library kernel stores it earlier: then reading it is as good.
  if (more > bytes(value) || (more > 0 && storedAnyway(value, 0)))
    return false;
  SmallVector<Operation *> all(ops.begin(), ops.end());
  llvm::append_range(all, state.cluster.ops);
  llvm::sort(all, [&](Operation *a, Operation *b) { return order.lookup(a) < order.lookup(b); });
  state.cluster.ops = llvm::SetVector<Operation *>(all.begin(), all.end());
  return true;
}

void Clustering::recompute() {
  // Later clusters first: what they no longer read, earlier ones need not store.
  for (int index = states.size() - 1; index >= 0; --index) {
    if (states[index].cluster.ops.empty())
      continue;
    for (Value value : reads(index)) {
      Operation *def = value.getDefiningOp();
      if (def && isFusible(def) && !states[index].cluster.ops.contains(def))
        tryRecompute(index, value);
    }
  }
}

/// A value is stored by its own cluster if an op outside reads it or a cluster
/// that does not compute it itself.
void Clustering::findResults() {
  DenseSet<Value> needed;
  for (size_t index = 0; index < states.size(); ++index)
    for (Value value : reads(index))
      needed.insert(value);
  for (State &state : states) {
    SmallVector<Value> results;
    for (Operation *op : state.cluster.ops) {
      if (home.lookup(op) != &state - states.data())
        continue;
      Value value = op->getResult(0);
      if (needed.contains(value) ||
          llvm::any_of(value.getUsers(), [&](Operation *user) { return !isFusible(user); }))
        results.push_back(value);
    }
    state.cluster.results = results;
    // What no result needs is computed elsewhere.
    llvm::SetVector<Operation *> live;
    SmallVector<Value> todo(results);
    DenseSet<Operation *> reached;
    while (!todo.empty()) {
      Operation *def = todo.pop_back_val().getDefiningOp();
      if (def && state.cluster.ops.contains(def) && reached.insert(def).second)
        llvm::append_range(todo, def->getOperands());
    }
    for (Operation *op : state.cluster.ops)
      if (reached.contains(op))
        live.insert(op);
    state.cluster.ops = live;
  }
}

std::vector<Cluster> Clustering::run() {
  int64_t index = 0, libraryCalls = 0;
  for (Operation &op : func.getBody().front()) {
    order[&op] = index++;
    if (isFusible(&op)) {
      join(&op, libraryCalls);
      continue;
    }
    close(&op);
    if (!isViewOp(&op) && !isa<arith::ConstantOp, pipe::ReadOp, nn::IotaOp>(op) && !isShadow(&op))
      ++libraryCalls;
  }
  for (State &state : states) {
    // Merging put the ops out of order.
    SmallVector<Operation *> ops(state.cluster.ops.begin(), state.cluster.ops.end());
    llvm::sort(ops, [&](Operation *a, Operation *b) { return order.lookup(a) < order.lookup(b); });
    state.cluster.ops = llvm::SetVector<Operation *>(ops.begin(), ops.end());
  }
  recompute();
  // Dropping ops makes others' reads superfluous: until nothing changes.
  for (size_t before = 0, now = 1; before != now;) {
    findResults();
    before = std::exchange(now, 0);
    for (State &state : states)
      now += state.cluster.ops.size();
  }
  std::vector<Cluster> clusters;
  for (State &state : states)
    if (!state.cluster.results.empty())
      clusters.push_back(std::move(state.cluster));
  llvm::stable_sort(clusters, [&](const Cluster &a, const Cluster &b) {
    return order.lookup(a.position) < order.lookup(b.position);
  });
  return clusters;
}

} // namespace

std::vector<Cluster> program::findClusters(func::FuncOp func, const Folds &folds) {
  return Clustering(func, folds).run();
}
