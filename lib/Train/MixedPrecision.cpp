//===- MixedPrecision.cpp - Casts around ops that compute in bf16 --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Runs before autodiff, so that casts have derivatives. Casts stand right at the
// ops here; pass train-casts moves them to where they cost least.
//
//===----------------------------------------------------------------------===//
#include "Precision.h"
#include "moire/Support/NodeNames.h"
#include "moire/Train/Passes.h"
#include "llvm/Support/Regex.h"

namespace moire::train {
#define GEN_PASS_DEF_MIXEDPRECISION
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;
using namespace moire::train;

namespace {

bool movesElements(Operation *op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp, nn::ReverseOp>(op);
}

/// The names that an override can match: of the op's ONNX nodes and of the
/// parameters that it reads, behind views.
SmallVector<StringRef> namesOf(Operation *op, SymbolTable &symbols) {
  SmallVector<StringRef> names;
  for (StringAttr name : nodesOf(op->getLoc()))
    names.push_back(name.getValue());
  for (Value operand : op->getOperands()) {
    while (operand.getDefiningOp() && movesElements(operand.getDefiningOp()))
      operand = operand.getDefiningOp()->getOperand(0);
    if (auto read = operand.getDefiningOp<pipe::ReadOp>()) {
      auto parameter = symbols.lookup<pipe::ParameterOp>(read.getParameter());
      names.push_back(parameter.getTorchName().value_or(parameter.getSymName()));
    }
  }
  return names;
}

/// One REGEX=POLICY.
struct Override {
  std::string text;
  llvm::Regex regex;
  const PrecisionPolicy *policy;
  bool matched = false;
};

/// Rounds what an op stores and gives all readers the rounded value.
void round(OpBuilder &builder, Value stored, Type narrow) {
  builder.setInsertionPointAfterValue(stored);
  Location loc = stored.getLoc();
  Value rounded = nn::castElements(builder, loc, stored, narrow);
  Value wide = nn::castElements(builder, loc, rounded, getElementTypeOrSelf(stored.getType()));
  stored.replaceAllUsesExcept(wide, rounded.getDefiningOp());
}

/// The sum with a bias that the product's kernel adds before it rounds.
Value withBias(Value product) {
  auto add = product.hasOneUse() ? dyn_cast<arith::AddFOp>(*product.user_begin()) : nullptr;
  if (!add || add.getLhs() == add.getRhs())
    return product;
  auto bias = (add.getLhs() == product ? add.getRhs() : add.getLhs()).getDefiningOp<nn::BroadcastOp>();
  int64_t rank = cast<RankedTensorType>(product.getType()).getRank();
  return bias && bias.getDimensions() == ArrayRef<int64_t>{rank - 1} ? add.getResult() : product;
}

/// Whether all readers add the value to another one: a residual stream, an
/// attention mask, an expert's bias. Rounding it would save nothing then, because
/// the kernel that adds can take the sum as it is.
bool isOnlyAdded(Value value) {
  return llvm::all_of(value.getUsers(), [](Operation *user) {
    return isa<arith::AddFOp>(user) ||
           (isa<nn::ReshapeOp, nn::TransposeOp>(user) && isOnlyAdded(user->getResult(0)));
  });
}

void apply(Operation *op, const PrecisionRule &rule, Type narrow) {
  OpBuilder builder(op);
  for (unsigned i : rule.operands)
    op->setOperand(i, nn::castElements(builder, op->getLoc(), op->getOperand(i), narrow));
  Value result = op->getResult(0);
  switch (rule.stored) {
  case Stored::wide:
    return;
  case Stored::own: {
    auto wide = cast<RankedTensorType>(result.getType());
    result.setType(wide.clone(narrow));
    builder.setInsertionPointAfter(op);
    Value again = nn::castElements(builder, op->getLoc(), result, wide.getElementType());
    result.replaceAllUsesExcept(again, again.getDefiningOp());
    return;
  }
  case Stored::rounded:
    if (Value stored = withBias(result); !isOnlyAdded(stored))
      round(builder, stored, narrow);
    return;
  }
}

struct MixedPrecision : train::impl::MixedPrecisionBase<MixedPrecision> {
  using MixedPrecisionBase::MixedPrecisionBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    const PrecisionPolicy *usual = lookup("--precision", policy);
    std::vector<Override> overrides;
    if (!usual || failed(readOverrides(overrides)))
      return signalPassFailure();
    auto func = module.lookupSymbol<func::FuncOp>("micro_step");
    if (!func || !func.getBody().hasOneBlock()) {
      emitError(module.getLoc(), "needs a function @micro_step of one block; run train-loss first");
      return signalPassFailure();
    }
    // 1. What each op computes in; the last override that matches counts.
    SymbolTable symbols(module);
    SmallVector<std::tuple<Operation *, const PrecisionRule *, Type>> narrowed;
    std::string example;
    DenseSet<Value> learned; // depends on a parameter
    for (Operation &op : func.getBody().front()) {
      if (isa<pipe::ReadOp>(op) ||
          llvm::any_of(op.getOperands(), [&](Value v) { return learned.contains(v); }))
        learned.insert(op.result_begin(), op.result_end());
      // What is made of positions alone must stay exact: 8 bits count to 256.
      const PrecisionRule *rule = findPrecisionRule(&op);
      if (!rule || !learned.contains(op.getResult(0)))
        continue;
      const PrecisionPolicy *chosen = usual;
      for (StringRef name : namesOf(&op, symbols)) {
        if (example.empty())
          example = name.str();
        for (Override &override : overrides)
          if (override.regex.match(name)) {
            override.matched = true;
            chosen = override.policy;
          }
      }
      Type type = chosen->compute(&getContext());
      auto operand = cast<RankedTensorType>(op.getOperand(rule->operands[0]).getType());
      if (operand.getElementType().isF32() && !type.isF32())
        narrowed.push_back({&op, rule, type});
    }
    for (const Override &override : overrides)
      if (!override.matched) {
        auto error = emitError(module.getLoc(), "--precision-override '")
                     << override.text << "' matches no op whose precision can be chosen";
        if (!example.empty())
          error << "; they have names like '" << example << "'";
        return signalPassFailure();
      }
    // 2. Casts.
    for (auto [op, rule, type] : narrowed)
      apply(op, *rule, type);
    if (!narrowed.empty())
      module->setAttr("moire.precision", StringAttr::get(&getContext(), "bf16"));
  }

  const PrecisionPolicy *lookup(StringRef flag, StringRef name) {
    const PrecisionPolicy *found = findPrecisionPolicy(name);
    if (!found) {
      std::string known;
      for (const PrecisionPolicy &policy : precisionPolicies())
        known += (known.empty() ? "" : " or ") + policy.name.str();
      emitError(getOperation().getLoc(), flag) << " '" << name << "' is not a policy; use " << known;
    }
    return found;
  }

  LogicalResult readOverrides(std::vector<Override> &overrides) {
    Location loc = getOperation().getLoc();
    for (const std::string &text : this->overrides) {
      auto [regex, name] = StringRef(text).rsplit('=');
      if (regex.empty() || name.empty())
        return emitError(loc, "--precision-override '") << text << "' must be REGEX=POLICY";
      const PrecisionPolicy *policy = lookup("--precision-override", name);
      if (!policy)
        return failure();
      overrides.push_back({text, llvm::Regex(regex), policy});
      std::string why;
      if (!overrides.back().regex.isValid(why))
        return emitError(loc, "--precision-override '")
               << regex << "' is not a regular expression: " << why;
    }
    return success();
  }
};
} // namespace
