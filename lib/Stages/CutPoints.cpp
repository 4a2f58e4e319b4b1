//===- CutPoints.cpp - Where a forward is cut ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MicroStep.h"
#include <limits>

using namespace mlir;
using namespace moire;
using namespace moire::stages;

namespace {
/// A place between two ops at which the forward may be cut.
struct Place {
  size_t end;     ///< one past the last op before it
  int64_t bytes;  ///< that cross
  double before;  ///< seconds of the ops before it
};
} // namespace

static int64_t elementsOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getNumElements() : -1;
}

/// A backward's products take about twice as long as its forward's, whatever is cut.
static std::vector<Place> findPlaces(const MicroStep &step, const overlap::Rates &rates) {
  DenseMap<Value, size_t> lastUse;
  for (auto [i, op] : llvm::enumerate(step.forward))
    for (Value operand : op->getOperands())
      if (step.isForward(operand))
        lastUse[operand] = i;
  std::vector<Place> places;
  SmallVector<Value> live;
  Value crossed; // by the cut before
  double seconds = 0;
  for (auto [i, op] : llvm::enumerate(step.forward)) {
    seconds += dist::isCollective(op) ? overlap::transferSeconds(op, rates)
                                      : overlap::secondsOf(op, rates);
    for (Value result : op->getResults())
      if (lastUse.count(result))
        live.push_back(result);
    llvm::erase_if(live, [&, i = i](Value v) { return lastUse[v] <= i; });
    Value largest;
    int64_t all = 0, bytes = 0;
    bool tensors = true;
    for (Value v : live) {
      const int64_t elements = elementsOf(v);
      tensors &= elements >= 0;
      all += elements;
      if (elements >= 0)
        bytes += elements * ((getElementTypeOrSelf(v).getIntOrFloatBitWidth() + 7) / 8);
      if (!largest || elements > elementsOf(largest))
        largest = v;
    }
    // A reshape is the same tensor: it is cut before it.
    Value behind = largest;
    while (behind && behind.getDefiningOp<nn::ReshapeOp>())
      behind = behind.getDefiningOp()->getOperand(0);
    if (!largest || !tensors || (all - elementsOf(largest)) * 8 > elementsOf(largest) ||
        behind == crossed)
      continue;
    crossed = behind;
    places.push_back({i + 1, bytes, seconds});
  }
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
