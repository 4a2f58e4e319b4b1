//===- Cuts.cpp - Where a model may be cut -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Parts.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"

using namespace mlir;
using namespace moire;

Value moire::behindReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<nn::ReshapeOp>())
    value = reshape.getInput();
  return value;
}

Operation *moire::parameterRead(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<pipe::ReadOp>(op))
      return op;
    if (!isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp>(op))
      return nullptr;
    value = op->getOperand(0);
  }
  return nullptr;
}

bool moire::isProductOfComputed(Operation *op) {
  auto matmul = dyn_cast<nn::MatmulOp>(op);
  return matmul && !parameterRead(matmul.getLhs()) && !parameterRead(matmul.getRhs());
}

static int64_t elementsOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getNumElements() : 0;
}

namespace {

/// A stretch of ops that only one large tensor leaves.
struct Segment {
  size_t begin = 0, end = 0;
  Value crosses;
  bool attention = false, product = false;
};

struct Cutter {
  std::vector<Operation *> ops;
  std::vector<Segment> segments;

  explicit Cutter(Operation *forward) {
    for (Operation &op : forward->getRegion(0).front())
      ops.push_back(&op);
    findSegments();
  }

  void findSegments() {
    DenseMap<Operation *, size_t> position;
    for (size_t i = 0; i < ops.size(); ++i)
      position[ops[i]] = i;
    // What depends on a parameter has to be sent; masks and tables are made anywhere.
    llvm::DenseSet<Value> computed;
    DenseMap<Value, size_t> lastUse;
    for (size_t i = 0; i < ops.size(); ++i) {
      bool depends = false;
      for (Value operand : ops[i]->getOperands()) {
        depends |= computed.contains(operand) || parameterRead(operand) != nullptr;
        lastUse[behindReshapes(operand)] = i;
      }
      if (depends && !llvm::all_of(ops[i]->getResults(), [](Value v) { return parameterRead(v); }))
        for (Value result : ops[i]->getResults())
          computed.insert(result);
    }
    // What is used after the last product is an output beside the logits, or goes into one, as the
    // routers' scores do: it is on the way to no later layer.
    size_t lastProduct = 0;
    for (size_t i = 0; i < ops.size(); ++i)
      if (isa<nn::MatmulOp, nn::GroupedMatmulOp>(ops[i]))
        lastProduct = i;
    llvm::SmallVector<Value> live;
    Segment segment;
    for (size_t i = 0; i < ops.size(); ++i) {
      segment.attention |= isa<nn::AttentionOp>(ops[i]) || isProductOfComputed(ops[i]);
      segment.product |= isa<nn::MatmulOp, nn::GroupedMatmulOp>(ops[i]);
      if (!isa<nn::ReshapeOp>(ops[i]))
        for (Value result : ops[i]->getResults())
          if (computed.contains(result) &&
              (i >= lastProduct || lastUse.lookup(result) <= lastProduct))
            live.push_back(result);
      llvm::erase_if(live, [&](Value v) { return !lastUse.count(v) || lastUse[v] <= i; });
      Value largest;
      for (Value value : live)
        if (!largest || elementsOf(value) > elementsOf(largest))
          largest = value;
      // What is small beside it may cross too.
      const bool alone = largest && llvm::count_if(live, [&](Value v) {
                                      return elementsOf(v) * 8 >= elementsOf(largest);
                                    }) == 1;
      if (!alone || largest == (segments.empty() ? Value() : segments.back().crosses))
        continue;
      segment.end = i + 1;
      segment.crosses = largest;
      segments.push_back(segment);
      segment = Segment();
      segment.begin = i + 1;
    }
    segment.end = ops.size();
    segments.push_back(segment);
  }

  /// The segments that begin a part: each with attention; after the last layer, which has as many
  /// segments as the one before it, the head. Without attention, each with a product.
  std::vector<size_t> starts() const {
    std::vector<size_t> begins, attention, products;
    for (size_t s = 0; s < segments.size(); ++s) {
      if (segments[s].attention)
        attention.push_back(s);
      else if (segments[s].product)
        products.push_back(s);
    }
    if (attention.empty())
      return products;
    begins = attention;
    const size_t last = attention.back();
    size_t length = 0;
    if (attention.size() > 1)
      length = last - attention[attention.size() - 2];
    else // one layer: its attention and the first product after it
      for (size_t s : products)
        if (s > last && length == 0)
          length = s + 1 - last;
    const size_t head = last + std::max<size_t>(1, length);
    for (size_t s = head; s < segments.size(); ++s)
      if (segments[s].product) {
        begins.push_back(head);
        break;
      }
    return begins;
  }
};

} // namespace

Parts moire::cutForward(Operation *forward) {
  const Cutter cutter(forward);
  const std::vector<size_t> starts = cutter.starts();
  Parts parts;
  Value crossing;
  size_t next = 0;
  const bool first = !starts.empty() && starts[0] > 0;
  if (first || starts.empty())
    parts.names.push_back("embedding");
  for (size_t s = 0; s < cutter.segments.size(); ++s) {
    const Segment &segment = cutter.segments[s];
    if (next < starts.size() && starts[next] == s) {
      parts.names.push_back("layer " + std::to_string(next));
      if (s > 0 && !crossing)
        crossing = cutter.segments[s - 1].crosses;
      ++next;
    }
    for (size_t i = segment.begin; i < segment.end; ++i)
      parts.partOf[cutter.ops[i]] = static_cast<int>(parts.names.size()) - 1;
  }
  bool attentionInLast = false;
  for (size_t s = starts.empty() ? 0 : starts.back(); s < cutter.segments.size(); ++s)
    attentionInLast |= cutter.segments[s].attention;
  if (starts.size() > 1 && !attentionInLast)
    parts.names.back() = "head";
  if (!crossing && !cutter.segments.empty())
    crossing = cutter.segments[0].crosses;
  if (crossing) {
    auto shape = cast<RankedTensorType>(crossing.getType()).getShape();
    parts.width = shape.empty() ? 1 : shape.back();
    parts.tokens = elementsOf(crossing) / std::max<int64_t>(1, parts.width);
  }
  return parts;
}
