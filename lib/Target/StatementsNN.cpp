//===- StatementsNN.cpp - Statements of rows, attention and experts ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Routers.h"
#include "Statements.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

/// A float attribute as the runtime's f32 field.
static std::string single(const llvm::APFloat &value) {
  return literal(static_cast<float>(value.convertToDouble()));
}

//===----------------------------------------------------------------------===//
// Normalizations, softmax, loss
//===----------------------------------------------------------------------===//

/// `{rows, cols[, eps]}` of a place [..., cols].
static std::string rowsOf(Value place, const llvm::APFloat *eps = nullptr) {
  auto shape = placeOf(place).getShape();
  int64_t cols = shape.back(), rows = cols ? placeOf(place).getNumElements() / cols : 0;
  Fields fields;
  fields.add("rows", rows).add("cols", cols);
  if (eps)
    fields.add("eps", single(*eps));
  return fields.str();
}

FailureOr<std::string> StatementWriter::layers(Operation *op) {
  using Result = FailureOr<std::string>;
  /// Trailing arguments that are the defaults are left out.
  auto finish = [](std::string callee, std::vector<std::string> arguments,
                   ArrayRef<StringRef> defaults) -> Result {
    while (!defaults.empty() && arguments.back() == defaults.back()) {
      arguments.pop_back();
      defaults = defaults.drop_back();
    }
    return call(callee, arguments);
  };
  auto crossEntropy = [&](Value logits, int64_t ignore) {
    auto shape = placeOf(logits).getShape();
    return Fields()
        .add("rows", shape[0])
        .add("vocab", shape[1])
        .addUnless("ignoreIndex", ignore, -100)
        .addUnless("seq", info.seq, 0)
        .str();
  };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](exec::LayerNormOp op) {
        llvm::APFloat eps = op.getEpsilon();
        return finish("layerNorm",
                      {"ctx", rowsOf(op.getInput(), &eps), pointer(op.getInput()),
                       pointerOrNull(op.getScale()), pointerOrNull(op.getBias()),
                       pointer(op.getResult()), "nullptr", "nullptr",
                       pointerOrNull(op.getResidual()), pointerOrNull(op.getSum())},
                      {"nullptr", "nullptr", "nullptr", "nullptr"});
      })
      .Case([&](exec::RMSNormOp op) {
        llvm::APFloat eps = op.getEpsilon();
        return finish("rmsNorm",
                      {"ctx", rowsOf(op.getInput(), &eps), pointer(op.getInput()),
                       pointerOrNull(op.getScale()), pointer(op.getResult()), "nullptr",
                       pointerOrNull(op.getResidual()), pointerOrNull(op.getSum())},
                      {"nullptr", "nullptr", "nullptr"});
      })
      .Case([&](exec::LayerNormGradOp op) {
        llvm::APFloat eps = op.getEpsilon();
        return finish("layerNormGrad",
                      {"ctx", rowsOf(op.getInput(), &eps), pointer(op.getCotangent()),
                       pointer(op.getInput()), pointerOrNull(op.getScale()), "nullptr", "nullptr",
                       pointerOrNull(op.getDInput()), pointerOrNull(op.getDScale()),
                       pointerOrNull(op.getDBias()), beta(op.getScaleMode()),
                       beta(op.getBiasMode()), pointerOrNull(op.getAdd())},
                      {"0.0f", "0.0f", "nullptr"});
      })
      .Case([&](exec::RMSNormGradOp op) {
        llvm::APFloat eps = op.getEpsilon();
        return finish("rmsNormGrad",
                      {"ctx", rowsOf(op.getInput(), &eps), pointer(op.getCotangent()),
                       pointer(op.getInput()), pointerOrNull(op.getScale()), "nullptr",
                       pointerOrNull(op.getDInput()), pointerOrNull(op.getDScale()),
                       beta(op.getScaleMode()), pointerOrNull(op.getAdd())},
                      {"0.0f", "nullptr"});
      })
      .Case([&](exec::SoftmaxOp op) -> Result {
        return call("softmax", {"ctx", rowsOf(op.getInput()), pointer(op.getInput()),
                                pointer(op.getResult())});
      })
      .Case([&](exec::SoftmaxGradOp op) -> Result {
        return call("softmaxGrad", {"ctx", rowsOf(op.getOutput()), pointer(op.getCotangent()),
                                    pointer(op.getOutput()), pointer(op.getResult())});
      })
      .Case([&](exec::CrossEntropyOp op) -> Result {
        std::string sizes = crossEntropy(op.getLogits(), op.getIgnoreIndex());
        if (!op.getDLogits())
          return call("crossEntropy",
                      {"ctx", sizes, pointer(op.getLogits()), pointer(op.getLabels()),
                       pointer(op.getLosses()), pointer(op.getLse())});
        return call("crossEntropyWithGrad",
                    {"ctx", sizes, pointer(op.getLogits()), pointer(op.getLabels()),
                     pointer(op.getCotangent()), pointer(op.getLosses()), pointer(op.getLse()),
                     pointer(op.getDLogits())});
      })
      .Case([&](exec::CrossEntropyGradOp op) -> Result {
        int64_t stride = exec::stridesOf(placeOf(op.getCotangent()))[0];
        return call("crossEntropyGrad",
                    {"ctx", crossEntropy(op.getLogits(), op.getIgnoreIndex()),
                     pointer(op.getLogits()), pointer(op.getLabels()), pointer(op.getLse()),
                     pointer(op.getCotangent()), std::to_string(stride), pointer(op.getDLogits())});
      })
      .Case([&](exec::LossOp op) -> Result {
        if (op->hasAttr(pipe::kSecondAttr))
          return call("loss", {"ctx", kSecond.str(), pointer(op.getValue())});
        return call("loss", {"ctx", pointer(op.getValue())});
      });
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// `{batch, head, row}` of a place [B, H, rows, dim] whose last dim is
/// contiguous; empty where it is dense.
static std::string headStrides(Value place) {
  MemRefType type = placeOf(place);
  if (exec::isDense(type))
    return "";
  auto strides = exec::stridesOf(type);
  strides.pop_back();
  // All zero would mean dense; the stride of one row is never used.
  if (type.getDimSize(2) == 1 && strides[2] == 0)
    strides[2] = type.getDimSize(3);
  return braces(strides);
}

/// The fields that attention and its gradient share.
static Fields attentionFields(Value q, Value k, Value v, Value mask, Value out,
                              const llvm::APFloat &scale, bool causal) {
  auto qs = placeOf(q).getShape(), vs = placeOf(v).getShape();
  Fields fields;
  fields.add("batch", qs[0])
      .add("heads", qs[1])
      .add("kvHeads", vs[1])
      .add("queries", qs[2])
      .add("keys", vs[2])
      .add("dim", qs[3])
      .addUnless("valueDim", vs[3], qs[3])
      .add("scale", single(scale))
      .addIf(causal, "causal", "true");
  auto add = [&](StringRef name, Value place) {
    std::string strides = headStrides(place);
    fields.addIf(!strides.empty(), name, strides);
  };
  add("q", q);
  add("k", k);
  add("v", v);
  add("out", out);
  if (mask)
    fields.add(placeOf(mask).getElementType().isF32() ? "bias" : "mask",
               braces(exec::stridesOf(placeOf(mask))));
  return fields;
}

FailureOr<std::string> StatementWriter::attention(exec::AttentionOp op) {
  Value mask = op.getMask();
  bool added = mask && placeOf(mask).getElementType().isF32();
  return call("attention",
              {"ctx",
               attentionFields(op.getQuery(), op.getKey(), op.getValue(), mask, op.getResult(),
                               op.getScale(), op.getCausal())
                   .str(),
               pointer(op.getQuery()), pointer(op.getKey()), pointer(op.getValue()),
               mask && !added ? pointer(mask) : "nullptr", added ? pointer(mask) : "nullptr",
               pointer(op.getResult()), pointer(op.getLse())});
}

FailureOr<std::string> StatementWriter::attentionGrad(exec::AttentionGradOp op) {
  Value mask = op.getMask();
  bool added = mask && placeOf(mask).getElementType().isF32();
  Fields fields = attentionFields(op.getQuery(), op.getKey(), op.getValue(), mask, op.getOutput(),
                                  op.getScale(), op.getCausal());
  // A cotangent lies as its value unless told otherwise, also where it is dense.
  auto add = [&](StringRef name, Value cotangent, Value value) {
    if (headStrides(cotangent) == headStrides(value))
      return;
    auto strides = exec::stridesOf(placeOf(cotangent));
    strides.pop_back();
    fields.add(name, braces(strides));
  };
  add("dq", op.getDQuery(), op.getQuery());
  add("dk", op.getDKey(), op.getKey());
  add("dv", op.getDValue(), op.getValue());
  add("dout", op.getCotangent(), op.getOutput());
  return call("attentionGrad",
              {"ctx", fields.str(), pointer(op.getQuery()), pointer(op.getKey()),
               pointer(op.getValue()), mask && !added ? pointer(mask) : "nullptr",
               added ? pointer(mask) : "nullptr", pointer(op.getOutput()), pointer(op.getLse()),
               pointer(op.getCotangent()), pointer(op.getDQuery()), pointer(op.getDKey()),
               pointer(op.getDValue())});
}

FailureOr<std::string> StatementWriter::rope(exec::RopeOp op) {
  auto x = placeOf(op.getInput()).getShape();
  Fields fields;
  fields.add("batch", x[0])
      .add("heads", x[1])
      .add("rows", x[2])
      .add("dim", x[3])
      .addIf(op.getInterleaved(), "interleaved", "true")
      .addIf(op.getInverse(), "inverse", "true");
  if (placeOf(op.getCos()).getDimSize(0) > 1)
    fields.add("tableBatchStride", x[2] * (x[3] / 2));
  auto add = [&](StringRef prefix, Value place) {
    if (headStrides(place).empty())
      return;
    auto strides = exec::stridesOf(placeOf(place));
    fields.add(prefix.str() + "Batch", strides[0])
        .add(prefix.str() + "Head", strides[1])
        .add(prefix.str() + "Row", x[2] == 1 && !strides[2] ? x[3] : strides[2]);
  };
  add("x", op.getInput());
  add("y", op.getResult());
  return call("rope", {"ctx", fields.str(), pointer(op.getInput()), pointer(op.getCos()),
                       pointer(op.getSin()), pointer(op.getResult())});
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

template <typename OpTy> static std::string routerFields(OpTy op) {
  static const char *const scorings[] = {"softmax", "softmaxSelected", "sigmoid"};
  auto logits = placeOf(op.getLogits()).getShape();
  return Fields()
      .add("tokens", logits[0])
      .add("experts", logits[1])
      .add("k", placeOf(op.getIds()).getShape()[1])
      .add("scoring", std::string("Scoring::") + scorings[static_cast<int>(op.getScoring())])
      .addIf(op.getNormalize(), "normalize", "true")
      .addIf(!op.getEpsilon().isZero(), "epsilon", single(op.getEpsilon()))
      .addIf(!op.getScale().isExactlyValue(1.0), "scale", single(op.getScale()))
      .str();
}

FailureOr<std::string> StatementWriter::experts(Operation *op) {
  using Result = FailureOr<std::string>;
  auto width = [](Value place) { return std::to_string(placeOf(place).getShape().back()); };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](exec::RouterOp op) -> Result {
        return call("router", {"ctx", routerFields(op), pointer(op.getLogits()),
                               pointerOrNull(op.getSelectionBias()), pointer(op.getWeights()),
                               pointer(op.getIds())});
      })
      .Case([&](exec::RouterGradOp op) -> Result {
        return call("routerGrad",
                    {"ctx", routerFields(op), pointer(op.getLogits()), pointer(op.getIds()),
                     pointer(op.getCotangent()), pointer(op.getDLogits())});
      })
      .Case([&](exec::RouteOp op) -> Result {
        const std::string place = routing(op.getRouting());
        std::vector<std::string> count{"ctx", std::to_string(numberInFunction(op, ofSecond)), place};
        if (ofSecond.contains(op))
          count.insert(count.begin() + 1, kSecond.str());
        return call("route", {"ctx", place, pointer(op.getIds())}) + call("countRows", count);
      })
      .Case([&](exec::ChoiceCountsOp op) -> Result {
        auto ids = placeOf(op.getIds()).getShape();
        return call("choiceCounts",
                    {"ctx", std::to_string(ids[0]), std::to_string(ids[1]), width(op.getCounts()),
                     pointer(op.getIds()), pointer(op.getCounts())});
      })
      .Case([&](exec::CapacityOp op) -> Result {
        auto counts = placeOf(op.getCounts()).getShape();
        std::string fields = Fields()
                                 .add("tokens", placeOf(op.getIds()).getShape()[0])
                                 .add("k", counts[1])
                                 .add("experts", counts[2])
                                 .add("shards", counts[0])
                                 .add("slots", op.getSlots())
                                 .addIf(op.getChoicesFirst(), "choicesFirst", "true")
                                 .str();
        return call("limitToCapacity",
                    {"ctx", fields, pointer(op.getIds()), pointer(op.getCounts()),
                     pointer(op.getShard()), pointer(op.getKept())});
      })
      .Case([&](exec::DispatchOp op) -> Result {
        return call("dispatch", {"ctx", routing(op.getRouting()), width(op.getInput()),
                                 pointer(op.getInput()), pointer(op.getRows())});
      })
      .Case([&](exec::CombineOp op) -> Result {
        return call("combine",
                    {"ctx", routing(op.getRouting()), width(op.getRows()), pointer(op.getRows()),
                     pointerOrNull(op.getWeights()), pointer(op.getResult())});
      })
      .Case([&](exec::CombineGradOp op) -> Result {
        return call("combineGrad",
                    {"ctx", routing(op.getRouting()), width(op.getRows()), pointer(op.getRows()),
                     pointer(op.getWeights()), pointer(op.getCotangent()),
                     pointerOrNull(op.getDRows()), pointerOrNull(op.getDWeights())});
      })
      .Case([&](exec::PerExpertOp op) -> Result {
        std::vector<std::string> arguments{"ctx", partOfRouting(op, op.getRouting()),
                                           width(op.getRows()), partOfExperts(op, op.getValues()),
                                           pointer(op.getRows())};
        if (op.getAdd())
          arguments.push_back(pointer(op.getAdd()));
        return call("perExpert", arguments);
      })
      .Case([&](exec::PerExpertSumOp op) -> Result {
        std::vector<std::string> arguments{"ctx", routing(op.getRouting()), width(op.getRows()),
                                           pointer(op.getRows()), pointer(op.getSums())};
        if (op.getMode() != exec::Mode::overwrite)
          arguments.push_back(beta(op.getMode()));
        return call("perExpertSum", arguments);
      })
      .Case([&](exec::GroupedGemmOp op) -> Result {
        std::string fields = Fields()
                                 .add("n", placeOf(op.getResult()).getShape()[1])
                                 .add("k", placeOf(op.getRows()).getShape()[1])
                                 .addIf(op.getTransposeWeight(), "transB", "true")
                                 .addIf(op.getGatherRows(), "gatherX", "true")
                                 .str();
        std::vector<std::string> arguments{"ctx",
                                           fields,
                                           partOfRouting(op, op.getRouting()),
                                           pointer(op.getRows()),
                                           partOfExperts(op, op.getWeight()),
                                           pointer(op.getResult())};
        if (op.getGated())
          arguments.push_back(pointer(op.getGated()));
        if (op.getBias())
          arguments.push_back(partOfExperts(op, op.getBias()));
        return call(op.getGated() ? "groupedGemmSwiglu" : "groupedGemm", arguments);
      })
      .Case([&](exec::GroupedGemmGradWeightOp op) -> Result {
        std::string fields =
            Fields()
                .add("n", placeOf(op.getRhs()).getShape()[1])
                .add("k", placeOf(op.getLhs()).getShape()[1])
                .addIf(op.getMode() != exec::Mode::overwrite, "beta", beta(op.getMode()))
                .addIf(op.getGatherLhs(), "gatherX", "true")
                .addIf(op.getGatherRhs(), "gatherDy", "true")
                .str();
        return call("groupedGemmWeightGrad",
                    {"ctx", fields, routing(op.getRouting()), pointer(op.getLhs()),
                     pointer(op.getRhs()), pointer(op.getResult())});
      });
}
