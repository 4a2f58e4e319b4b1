//===- Movement.cpp - Concat, Split, Slice, Tile, Pad --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

static LogicalResult convertConcat(Node &n) {
  auto axis = n.axisAttr("axis", n.opset < 4 ? 1 : 0);
  if (failed(axis))
    return failure();
  // An empty part is how exporters write "nothing yet".
  SmallVector<Value> parts;
  for (unsigned i = 0; i < n.numInputs(); ++i) {
    if (!n.has(i))
      return n.fail("input " + Twine(i) + " is missing");
    if (n.rank(i) != n.rank(0))
      return n.fail("inputs of ranks " + Twine(n.rank(0)) + " and " + Twine(n.rank(i)) +
                    " cannot be joined");
    if (n.shape(i)[*axis] != 0)
      parts.push_back(n.in(i));
  }
  return n.give(parts.empty() ? n.in(0) : n.e.concat(parts, *axis));
}

static LogicalResult convertSplit(Node &n) {
  auto axis = n.axisAttr("axis", 0);
  auto given = n.intsOf("split", 1);
  if (failed(axis) || failed(given))
    return failure();
  int64_t size = n.shape(0)[*axis], parts = n.numResults();
  DimVector sizes;
  if (*given) {
    sizes = **given;
  } else {
    // Equal parts; from opset 18 the last one may be smaller.
    parts = n.getInt("num_outputs", parts);
    if (parts < 1)
      return n.fail("num_outputs " + Twine(parts) + " must be positive");
    int64_t each = (size + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i)
      sizes.push_back(std::clamp<int64_t>(size - i * each, 0, each));
  }
  int64_t sum = 0;
  for (int64_t s : sizes)
    sum += s;
  if (sum != size || sizes.size() != n.numResults())
    return n.fail("sizes " + str(sizes) + " do not split dim " + Twine(*axis) + " of size " +
                  Twine(size) + " into " + Twine(n.numResults()) + " parts");
  int64_t start = 0;
  for (auto [i, s] : llvm::enumerate(sizes)) {
    n.set(i, n.e.sliceDim(n.in(0), *axis, start, start + s));
    start += s;
  }
  return success();
}

/// Opset 9: attributes starts, ends, axes; from 10 on: inputs, with steps.
static LogicalResult convertSlice(Node &n) {
  int64_t rank = n.rank(0);
  auto starts = n.intsOf("starts", 1), ends = n.intsOf("ends", 2), axes = n.intsOf("axes", 3);
  auto steps = n.intsOf("steps", 4);
  if (failed(starts) || failed(ends) || failed(axes) || failed(steps))
    return failure();
  if (!*starts || !*ends)
    return n.fail("starts or ends is missing");
  DimVector which = *axes ? **axes : upTo((*starts)->size());
  DimVector by = *steps ? **steps : DimVector(which.size(), 1);
  if ((*starts)->size() != which.size() || (*ends)->size() != which.size() ||
      by.size() != which.size())
    return n.fail("starts, ends, axes and steps must have one length");
  DimVector from(rank, 0), to(n.shape(0)), stride(rank, 1), reversed;
  for (auto [i, given] : llvm::enumerate(which)) {
    auto axis = n.axis(given, rank);
    if (failed(axis))
      return failure();
    int64_t size = n.shape(0)[*axis], step = by[i], start = (**starts)[i], end = (**ends)[i];
    if (step == 0)
      return n.fail("a step of 0");
    start += start < 0 ? size : 0;
    end += end < 0 ? size : 0;
    if (step > 0 || size == 0) {
      start = std::clamp<int64_t>(start, 0, size);
      end = std::clamp<int64_t>(end, start, size);
    } else {
      // Positions start, start+step, ... above end: a window of the reverse.
      start = std::clamp<int64_t>(start, 0, size - 1);
      end = std::clamp<int64_t>((**ends)[i] < -size ? -1 : end, -1, size - 1);
      reversed.push_back(*axis);
      start = size - 1 - start;
      end = std::max(size - 1 - end, start);
      step = -step;
    }
    from[*axis] = start;
    to[*axis] = end;
    stride[*axis] = std::clamp<int64_t>(step, 1, std::max<int64_t>(size, 1));
  }
  Value v = n.in(0);
  llvm::sort(reversed);
  if (!reversed.empty())
    v = n.e.infer<nn::ReverseOp>(v, reversed);
  return n.give(n.e.slice(v, from, to, stride));
}

static LogicalResult convertTile(Node &n) {
  auto repeats = n.constInts(1, "repeats");
  if (failed(repeats))
    return failure();
  if ((int64_t)repeats->size() != n.rank(0))
    return n.fail(Twine(repeats->size()) + " repeats for an input of rank " + Twine(n.rank(0)));
  DimVector split, wide, out;
  for (auto [d, r] : llvm::zip(n.shape(0), *repeats)) {
    if (r < 0)
      return n.fail("repeats " + str(*repeats) + " must not be negative");
    split.append({1, d});
    wide.append({r, d});
    out.push_back(d * r);
  }
  return n.give(n.e.reshape(n.e.broadcastTo(n.e.reshape(n.in(0), split), wide), out));
}

/// The source position of each place of a padded dim.
static DimVector paddedPositions(StringRef mode, int64_t low, int64_t high, int64_t size) {
  DimVector out;
  for (int64_t i = -low; i < size + high; ++i) {
    int64_t p = i;
    if (mode == "edge")
      p = std::clamp<int64_t>(i, 0, size - 1);
    else if (mode == "wrap")
      p = ((i % size) + size) % size;
    else if (size > 1) // reflect
      for (p = i; p < 0 || p >= size;)
        p = p < 0 ? -p : 2 * (size - 1) - p;
    else
      p = 0;
    out.push_back(p);
  }
  return out;
}

static LogicalResult convertPad(Node &n) {
  int64_t rank = n.rank(0);
  auto given = n.intsOf("pads", 1), some = n.intsOf("", 3);
  if (failed(given) || failed(some))
    return failure();
  DimVector axes = upTo(rank);
  if (*some) {
    axes.clear();
    for (int64_t a : **some) {
      auto axis = n.axis(a, rank);
      if (failed(axis))
        return failure();
      axes.push_back(*axis);
    }
  }
  if (!*given || (*given)->size() != 2 * axes.size())
    return n.fail("pads must have " + Twine(2 * axes.size()) + " entries");
  DimVector low(rank, 0), high(rank, 0), zeros(rank, 0), starts(rank, 0), limits(n.shape(0));
  for (auto [i, a] : llvm::enumerate(axes)) {
    low[a] = (**given)[i];
    high[a] = (**given)[i + axes.size()];
  }
  // Negative padding cuts.
  for (int64_t d = 0; d < rank; ++d) {
    starts[d] = std::max<int64_t>(0, -low[d]);
    limits[d] -= std::max<int64_t>(0, -high[d]);
    low[d] = std::max<int64_t>(0, low[d]);
    high[d] = std::max<int64_t>(0, high[d]);
    if (starts[d] > limits[d])
      return n.fail("pads " + str(**given) + " cut more than there is of " + str(n.shape(0)));
  }
  Value v = n.e.slice(n.in(0), starts, limits);
  StringRef mode = n.getString("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap")
    return n.fail("mode \"" + mode + "\" is not supported; use constant, edge, reflect or wrap");
  if (mode == "constant") {
    auto value = n.has(2) ? n.number(2) : std::optional<double>(n.getFloat("value", 0));
    if (low == zeros && high == zeros)
      return n.give(v);
    Value padded = n.e.infer<nn::PadOp>(v, low, high, zeros, llvm::APFloat(value.value_or(0)));
    if (value)
      return n.give(padded);
    // A computed value is selected outside.
    Value inside = n.e.infer<nn::PadOp>(n.e.splat(shapeOf(v), n.e.i1(), 1), low, high, zeros,
                                        llvm::APFloat(0.0));
    return n.give(n.e.select(inside, padded, n.e.reshape(n.in(2), {})));
  }
  for (int64_t d = 0; d < rank; ++d) {
    if (!low[d] && !high[d])
      continue;
    if (shapeOf(v)[d] == 0)
      return n.fail("dim " + Twine(d) + " is empty and cannot be padded from itself");
    Value index = n.e.ints(paddedPositions(mode, low[d], high[d], shapeOf(v)[d]));
    DimVector swap = upTo(rank);
    std::swap(swap[0], swap[d]);
    v = n.e.transpose(n.e.infer<nn::GatherOp>(n.e.transpose(v, swap), index), swap);
  }
  return n.give(v);
}

void conversion::addMovement(HandlerTable &t) {
  t.add("Concat", 1, convertConcat);
  t.add("Split", 1, convertSplit);
  t.add("Slice", 1, convertSlice);
  t.add("Tile", 2, convertTile);
  t.add("Pad", 1, convertPad);
}
