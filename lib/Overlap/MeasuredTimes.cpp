//===- MeasuredTimes.cpp - Pass measured-times ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Overlap/OpCost.h"
#include "moire/Overlap/Passes.h"
#include "moire/Pipe/PipelineProgram.h"
#include <map>
#include <set>

namespace moire::overlap {
#define GEN_PASS_DEF_MEASUREDTIMES
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

namespace {
enum Direction { kForward, kInput, kWeight };

struct Part {
  SmallVector<StringRef> names; ///< any of them
  double seconds[3]; ///< by Direction
};

/// Which way the ops of a pair go, from what they read and who reads them.
class Directions {
public:
  explicit Directions(func::FuncOp pair) {
    Block &block = pair.getBody().front();
    // 1. What the second task computes follows from its arguments.
    DenseSet<Value> second;
    bool backward[2] = {false, false};
    for (unsigned i = 0; i < pair.getNumArguments(); ++i) {
      const bool isSecond = pair.getArgAttr(i, pipe::kSecondAttr) != nullptr;
      if (isSecond)
        second.insert(pair.getArgument(i));
      backward[isSecond] |= pipe::argumentPort(pair, i).role == pipe::kOutputCotangentAttr ||
                            pipe::argumentPort(pair, i).role == pipe::kResidualAttr;
    }
    // 2. What goes to a gradient alone is for the weights.
    for (Operation &op : block) {
      bool isSecond = false;
      op.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          isSecond |= second.contains(operand);
      });
      if (isSecond)
        second.insert(op.result_begin(), op.result_end());
      directions[&op] = !backward[isSecond] ? kForward : isForWeight(&op) ? kWeight : kInput;
    }
  }

  Direction of(Operation *op) const { return directions.lookup(op); }

private:
  /// Whether all that reads it are accumulations, or changes of shape and type before them.
  static bool isForWeight(Operation *op) {
    return !op->use_empty() && llvm::all_of(op->getUsers(), [](Operation *user) {
      return isa<pipe::AccumulateOp>(user) ||
             (isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::ConcatOp, nn::PadOp>(user) &&
              isForWeight(user));
    });
  }

  DenseMap<Operation *, Direction> directions;
};

bool isProduct(Operation *op) {
  return isa<nn::MatmulOp, nn::GroupedMatmulOp, nn::GroupedMatmulGradWeightOp, nn::AttentionOp,
             nn::AttentionGradOp>(op);
}

struct MeasuredTimes : overlap::impl::MeasuredTimesBase<MeasuredTimes> {
  using MeasuredTimesBase::MeasuredTimesBase;

  void runOnOperation() override {
    Rates given;
    std::string error = given.parse(rates);
    std::vector<Part> read;
    for (const std::string &text : parts) {
      SmallVector<StringRef> items;
      StringRef(text).split(items, ':');
      Part part;
      items.front().split(part.names, '|');
      bool wrong = items.size() != 4;
      for (size_t i = 1; i < items.size() && !wrong; ++i) {
        wrong = items[i].getAsDouble(part.seconds[i - 1]) || part.seconds[i - 1] < 0;
        part.seconds[i - 1] *= 1e-3;
      }
      if (wrong && error.empty())
        error = "parts has '" + text + "'; use NAME:F:B:W with milliseconds, as in mlp:4.6:5.4:5.1";
      read.push_back(part);
    }
    if (!error.empty()) {
      emitError(getOperation().getLoc(), error);
      return signalPassFailure();
    }
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (func->hasAttr(pipe::kPairAttr))
        measure(func, read, given);
  }

  /// The layer's part that an op belongs to: a node's name up to the part's; empty where to none.
  static std::pair<std::string, const Part *> partOf(Operation *op, ArrayRef<Part> parts) {
    std::pair<std::string, const Part *> found = {"", nullptr};
    op->getLoc()->walk([&](Location inner) {
      auto named = dyn_cast<NameLoc>(inner);
      if (!named)
        return WalkResult::advance();
      for (const Part &part : parts)
        for (StringRef name : part.names)
          if (size_t at = named.getName().getValue().find(name); at != StringRef::npos) {
            found = {named.getName().getValue().take_front(at).str(), &part};
            return WalkResult::interrupt();
          }
      return WalkResult::advance();
    });
    return found;
  }

  void measure(func::FuncOp pair, ArrayRef<Part> parts, const Rates &given) {
    const Directions directions(pair);
    // 1. What the cost model says, and its sums over a layer's parts. A part without products is
    // what a layer of another stage has made of the inputs.
    using Key = std::tuple<std::string, const Part *, Direction>;
    std::map<Key, double> sums;
    std::set<Key> real;
    auto keyOf = [&](Operation &op) {
      auto [layer, part] = partOf(&op, parts);
      return std::tuple(layer, part, directions.of(&op));
    };
    Block &block = pair.getBody().front();
    for (Operation &op : block.without_terminator())
      if (!isa<dist::AsyncOp>(op)) {
        sums[keyOf(op)] += secondsOf(&op, given);
        if (isProduct(&op))
          real.insert(keyOf(op));
      }
    // 2. The measured times in these shares.
    OpBuilder b(pair);
    auto set = [&](Operation *op, double seconds) {
      op->setAttr(kSecondsAttr, b.getF64FloatAttr(seconds));
    };
    for (Operation &op : block.without_terminator()) {
      auto setTransfer = [&](Operation *transfer) {
        auto rows = dyn_cast<dist::AllToAllRowsOp>(transfer);
        set(transfer, rows ? 1e-3 * (rows.getBack() ? combine : dispatch) : 0);
      };
      if (auto async = dyn_cast<dist::AsyncOp>(op)) {
        for (Operation &inner : async.getBody().front().without_terminator())
          setTransfer(&inner);
        continue;
      }
      if (dist::isCollective(&op)) {
        setTransfer(&op);
        continue;
      }
      const Key key = keyOf(op);
      const Part *part = std::get<1>(key);
      const double sum = sums[key], own = secondsOf(&op, given);
      set(&op, part && sum > 0 && real.count(key) ? part->seconds[std::get<2>(key)] * own / sum : 0);
    }
  }
};
} // namespace
