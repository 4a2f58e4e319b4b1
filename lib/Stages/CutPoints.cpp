//===- CutPoints.cpp - Where a forward is cut ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MicroStep.h"
#include "moire/Support/NodeNames.h"
#include "llvm/ADT/MapVector.h"
#include <limits>

using namespace mlir;
using namespace moire;
using namespace moire::stages;

namespace {
/// A place between two ops at which the forward may be cut.
struct Place {
  size_t end;    ///< one past the last op before it
  int64_t bytes; ///< that cross
  double before; ///< seconds of the ops before it
};

/// What crosses between two ops of the forward.
struct Crossing {
  SmallVector<Value> values; ///< the largest first, of equal ones the earliest
  int64_t bytes = 0;
  bool oneTensor = false; ///< one large tensor, and little else
};
} // namespace

static int64_t elementsOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getNumElements() : -1;
}

/// Calls `visit` with what crosses behind each op of the forward.
static void walkCrossings(const MicroStep &step, llvm::function_ref<void(size_t, Crossing)> visit) {
  DenseMap<Value, size_t> lastUse;
  for (auto [i, op] : llvm::enumerate(step.forward))
    for (Value operand : op->getOperands())
      if (step.isForward(operand))
        lastUse[operand] = i;
  SmallVector<Value> live;
  for (auto [i, op] : llvm::enumerate(step.forward)) {
    for (Value result : op->getResults())
      if (lastUse.count(result))
        live.push_back(result);
    llvm::erase_if(live, [&, i = i](Value v) { return lastUse[v] <= i; });
    Crossing crossing{live};
    llvm::stable_sort(crossing.values,
                      [](Value a, Value b) { return elementsOf(a) > elementsOf(b); });
    int64_t all = 0;
    bool tensors = true;
    for (Value v : live) {
      const int64_t elements = elementsOf(v);
      tensors &= elements >= 0;
      all += elements;
      if (elements >= 0)
        crossing.bytes += elements * ((getElementTypeOrSelf(v).getIntOrFloatBitWidth() + 7) / 8);
    }
    const int64_t largest = live.empty() ? 0 : elementsOf(crossing.values[0]);
    crossing.oneTensor = !live.empty() && tensors && (all - largest) * 8 <= largest;
    visit(i, std::move(crossing));
  }
}

/// A backward's products take about twice as long as its forward's, whatever is cut.
static std::vector<Place> findPlaces(const MicroStep &step, const overlap::Rates &rates) {
  std::vector<Place> places;
  Value crossed; // by the cut before
  double seconds = 0;
  walkCrossings(step, [&](size_t i, const Crossing &crossing) {
    Operation *op = step.forward[i];
    seconds += dist::isCollective(op) ? overlap::transferSeconds(op, rates)
                                      : overlap::secondsOf(op, rates);
    if (!crossing.oneTensor)
      return;
    // A reshape is the same tensor: it is cut before it.
    Value behind = crossing.values[0];
    while (behind.getDefiningOp<nn::ReshapeOp>())
      behind = behind.getDefiningOp()->getOperand(0);
    if (behind == crossed)
      return;
    crossed = behind;
    places.push_back({i + 1, crossing.bytes, seconds});
  });
  places.push_back({step.forward.size(), 0, seconds});
  return places;
}

FailureOr<std::vector<size_t>> stages::chooseCuts(const MicroStep &step, int64_t stages,
                                                  const overlap::Rates &rates) {
  const std::vector<Place> places = findPlaces(step, rates);
  const int64_t count = places.size();
  if (count < stages)
    return emitError(step.function().getLoc(), "the model has ")
               << count - 1 << " places where one tensor crosses, too few to cut it into " << stages
               << " stages; use at most " << count << ", which are pp times the stages of a rank",
           failure();
  // best[k][p]: the first k stages end at place p; their longest, then the bytes that cross.
  using Value = std::pair<double, int64_t>;
  const Value none = {std::numeric_limits<double>::infinity(), 0};
  std::vector<std::vector<Value>> best(stages, std::vector<Value>(count, none));
  std::vector<std::vector<int64_t>> from(stages, std::vector<int64_t>(count, -1));
  for (int64_t p = 0; p < count; ++p)
    best[0][p] = {places[p].before, places[p].bytes};
  for (int64_t k = 1; k < stages; ++k)
    for (int64_t p = k; p < count; ++p)
      for (int64_t q = k - 1; q < p; ++q) {
        const Value value = {std::max(best[k - 1][q].first, places[p].before - places[q].before),
                             best[k - 1][q].second + places[p].bytes};
        if (value < best[k][p]) {
          best[k][p] = value;
          from[k][p] = q;
        }
      }
  std::vector<size_t> ends(stages);
  int64_t p = count - 1;
  for (int64_t k = stages - 1; k >= 0; p = from[k--][p])
    ends[k] = places[p].end;
  return ends;
}

//===----------------------------------------------------------------------===//
// Cuts that a user or the file names
//===----------------------------------------------------------------------===//

static StringRef nodeOf(Operation *op) {
  StringAttr name = firstNode(op->getLoc());
  return name ? name.getValue() : StringRef();
}

namespace {
/// The names of a cut in moire.stage_cuts.
struct NodeSet {
  llvm::DenseSet<StringRef> names, prefixes;

  explicit NodeSet(ArrayAttr nodes) {
    for (StringRef name : nodes.getAsValueRange<StringAttr>())
      (name.ends_with("/") ? prefixes : names).insert(name);
  }
  bool contains(StringRef name) const {
    if (names.contains(name))
      return true;
    if (prefixes.empty())
      return false;
    for (size_t slash = name.find('/'); slash != StringRef::npos; slash = name.find('/', slash + 1))
      if (prefixes.contains(name.take_front(slash + 1)))
        return true;
    return false;
  }
};
} // namespace

/// One past the op that makes the largest tensor which leaves `nodes`, the last of equal ones; 0
/// where none does.
static size_t endOf(const MicroStep &step, const NodeSet &nodes) {
  size_t end = 0;
  int64_t largest = -1;
  for (auto [i, op] : llvm::enumerate(step.forward)) {
    if (!nodes.contains(nodeOf(op)))
      continue;
    for (Value result : op->getResults()) {
      const bool leaves = llvm::any_of(result.getUsers(), [&](Operation *user) {
        return step.position.count(user) && !nodes.contains(nodeOf(user));
      });
      if (leaves && elementsOf(result) >= largest) {
        largest = elementsOf(result);
        end = i + 1;
      }
    }
  }
  return end;
}

static std::string describe(Value value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << value.getType();
  if (StringRef name = nodeOf(value.getDefiningOp()); !name.empty())
    os << " of '" << name << "'";
  return text;
}

FailureOr<std::vector<size_t>> stages::readCuts(const MicroStep &step, int64_t stages,
                                                DictionaryAttr given) {
  const Location loc = step.function().getLoc();
  auto said = given.getAs<StringAttr>("said");
  auto cuts = given.getAs<ArrayAttr>("cuts");
  if (!said || !cuts || !llvm::all_of(cuts, [](Attribute cut) {
        auto entry = dyn_cast<DictionaryAttr>(cut);
        auto nodes = entry ? entry.getAs<ArrayAttr>("nodes") : ArrayAttr();
        return nodes && entry.getAs<StringAttr>("after") &&
               llvm::all_of(nodes, [](Attribute a) { return isa<StringAttr>(a); });
      }))
    return emitError(loc, "moire.stage_cuts needs said = \"...\" and cuts, each with after = "
                          "\"...\" and nodes = [\"...\"]"),
           failure();
  if (int64_t(cuts.size()) + 1 != stages)
    return emitError(loc) << said.getValue() << " makes " << cuts.size() + 1
                          << " stages, but the pipeline has " << stages
                          << ", pp times the stages of a rank; name " << stages - 1
                          << (stages == 2 ? " cut" : " cuts")
                          << ", or leave them to the compiler by --stages auto",
           failure();

  std::vector<Crossing> crossings;
  walkCrossings(step, [&](size_t, Crossing c) { crossings.push_back(std::move(c)); });
  std::vector<size_t> ends;
  StringRef before;
  for (Attribute cut : cuts) {
    auto entry = cast<DictionaryAttr>(cut);
    const StringRef after = entry.getAs<StringAttr>("after").getValue();
    const size_t end = endOf(step, NodeSet(entry.getAs<ArrayAttr>("nodes")));
    // The nearest cut that is possible, for a sentence.
    auto near = [&](size_t at) -> std::string {
      for (size_t d = 0; d < crossings.size(); ++d)
        for (size_t i : {at - d, at + d})
          if (i < crossings.size() && crossings[i].oneTensor && !nodeOf(step.forward[i]).empty())
            return ("'" + nodeOf(step.forward[i]) + "'").str();
      return "another node";
    };
    if (end == 0)
      return emitError(loc) << said.getValue() << ": behind '" << after
                            << "' is nothing to cut, since it is part of a larger operation, made "
                               "of inputs or weights alone, or not needed for the loss; cut behind "
                               "another node, such as "
                            << near(ends.empty() ? 0 : ends.back()),
             failure();
    const Crossing &crossing = crossings[end - 1];
    if (!crossing.oneTensor) {
      InFlightDiagnostic error = emitError(loc);
      error << said.getValue() << ": behind '" << after << "' ";
      if (crossing.values.size() < 2)
        return error << "nothing is left to compute; cut before it", failure();
      return error << crossing.values.size() << " tensors cross, such as "
                   << describe(crossing.values[0]) << " and " << describe(crossing.values[1])
                   << "; cut where one does, as behind " << near(end - 1),
             failure();
    }
    if (!ends.empty() && end <= ends.back())
      return emitError(loc) << said.getValue() << ": '" << after << "' lies "
                            << (end == ends.back() ? "at the same place as '" : "before '")
                            << before
                            << "' in the graph; name cuts in the graph's order, each once",
             failure();
    ends.push_back(end);
    before = after;
  }
  ends.push_back(step.forward.size());
  return ends;
}

//===----------------------------------------------------------------------===//
// Cuts of another sequence length
//===----------------------------------------------------------------------===//

/// So many nodes on each side tell a cut: some of them may have no op of their own in the other.
static constexpr size_t kNodesOfCut = 16;

namespace {
/// Where the ops of a node are.
struct Extent {
  size_t first, last;
};
} // namespace

static llvm::MapVector<StringRef, Extent> extentsOf(const MicroStep &step) {
  llvm::MapVector<StringRef, Extent> extents;
  for (auto [i, op] : llvm::enumerate(step.forward))
    if (StringRef name = nodeOf(op); !name.empty())
      extents.insert({name, {i, i}}).first->second.last = i;
  return extents;
}

ArrayAttr stages::describeCuts(const MicroStep &step, ArrayRef<size_t> ends) {
  Builder b(step.function().getContext());
  SmallVector<std::pair<StringRef, Extent>, 0> nodes = extentsOf(step).takeVector();
  SmallVector<Attribute> cuts;
  for (size_t end : ends.drop_back()) {
    SmallVector<StringRef> before, behind;
    llvm::sort(nodes, [](auto &x, auto &y) { return x.second.last > y.second.last; });
    for (auto &[name, extent] : nodes)
      if (extent.last < end && before.size() < kNodesOfCut)
        before.push_back(name);
    llvm::sort(nodes, [](auto &x, auto &y) { return x.second.first < y.second.first; });
    for (auto &[name, extent] : nodes)
      if (extent.first >= end && behind.size() < kNodesOfCut)
        behind.push_back(name);
    cuts.push_back(b.getDictionaryAttr({b.getNamedAttr("before", b.getStrArrayAttr(before)),
                                        b.getNamedAttr("behind", b.getStrArrayAttr(behind))}));
  }
  return b.getArrayAttr(cuts);
}

FailureOr<std::vector<size_t>> stages::repeatCuts(const MicroStep &step, int64_t stages,
                                                  ArrayAttr given) {
  const Location loc = step.function().getLoc();
  if (int64_t(given.size()) + 1 != stages)
    return emitError(loc) << "moire.stage_ends has " << given.size()
                          << " cuts, but the pipeline has " << stages << " stages",
           failure();
  const llvm::MapVector<StringRef, Extent> extents = extentsOf(step);
  std::vector<char> oneTensor;
  walkCrossings(step, [&](size_t, const Crossing &c) { oneTensor.push_back(c.oneTensor); });
  std::vector<size_t> ends;
  for (Attribute cut : given) {
    auto entry = dyn_cast<DictionaryAttr>(cut);
    auto before = entry ? entry.getAs<ArrayAttr>("before") : ArrayAttr();
    auto behind = entry ? entry.getAs<ArrayAttr>("behind") : ArrayAttr();
    if (!before || !behind)
      return emitError(loc, "moire.stage_ends needs of each cut before = [\"...\"] and behind = "
                            "[\"...\"]"),
             failure();
    size_t least = ends.empty() ? 1 : ends.back() + 1, most = step.forward.size() - 1;
    for (StringRef name : before.getAsValueRange<StringAttr>())
      if (auto it = extents.find(name); it != extents.end())
        least = std::max(least, it->second.last + 1);
    for (StringRef name : behind.getAsValueRange<StringAttr>())
      if (auto it = extents.find(name); it != extents.end())
        most = std::min(most, it->second.first);
    while (least <= most && !oneTensor[least - 1])
      ++least;
    if (least > most)
      return emitError(loc)
                 << "the pipeline of the longest sequences is cut between '"
                 << (before.empty() ? "" : cast<StringAttr>(before[0]).getValue()) << "' and '"
                 << (behind.empty() ? "" : cast<StringAttr>(behind[0]).getValue())
                 << "', where no one tensor crosses with other lengths; name the cuts by "
                    "--stages",
             failure();
    ends.push_back(least);
  }
  ends.push_back(step.forward.size());
  return ends;
}
