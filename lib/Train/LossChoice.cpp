//===- LossChoice.cpp - Which output is the loss, and of what kind -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "LossChoice.h"
#include "dialects/nn/NN.h"
#include "moire/Support/Recipes.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::train;

StringRef train::lossName(LossKind kind) {
  switch (kind) {
  case LossKind::nextToken:
    return "next-token";
  case LossKind::token:
    return "token";
  case LossKind::classes:
    return "class";
  case LossKind::mse:
    return "mse";
  case LossKind::output:
    return "output";
  }
  llvm_unreachable("all kinds are listed");
}

BlockArgument train::findInput(func::FuncOp func, StringRef name) {
  for (unsigned i = 0; i < func.getNumArguments(); ++i)
    if (auto attr = func.getArgAttrOfType<StringAttr>(i, "onnx.name"); attr && attr == name)
      return func.getArgument(i);
  return {};
}

std::vector<Operation *> train::backwardSlice(Value value) {
  llvm::DenseSet<Operation *> seen;
  SmallVector<Operation *> stack;
  auto visit = [&](Value v) {
    if (Operation *op = v.getDefiningOp())
      if (seen.insert(op).second)
        stack.push_back(op);
  };
  visit(value);
  while (!stack.empty())
    for (Value operand : stack.pop_back_val()->getOperands())
      visit(operand);
  std::vector<Operation *> ops(seen.begin(), seen.end());
  llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return ops;
}

namespace {

bool isScalar(const Output &output) { return output.type().getNumElements() == 1; }

/// Whether the file itself computes a loss here: it holds a cross-entropy, or
/// the input `labels` enters.
bool isLossInFile(func::FuncOp forward, const Output &output) {
  BlockArgument labels = findInput(forward, "labels");
  for (Operation *op : backwardSlice(output.value))
    if (isa<nn::CrossEntropyOp>(op) || (labels && llvm::is_contained(op->getOperands(), labels)))
      return true;
  return false;
}

std::string list(ArrayRef<Output> outputs) {
  std::string text;
  for (const Output &output : outputs)
    text += (text.empty() ? "'" : ", '") + output.name + "'";
  return text;
}

class Chooser {
public:
  Chooser(func::FuncOp forward) : forward(forward) {
    Operation *exit = forward.getBody().front().getTerminator();
    for (auto [i, value] : llvm::enumerate(exit->getOperands())) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || !isa<FloatType>(type.getElementType()))
        continue;
      auto name = forward.getResultAttrOfType<StringAttr>(i, "onnx.name");
      outputs.push_back({value, name ? name.str() : "output " + std::to_string(i)});
    }
  }

  FailureOr<LossChoice> choose(StringRef loss);
  FailureOr<AuxTerm> auxTerm(StringRef text);

private:
  InFlightDiagnostic error() { return emitError(forward.getLoc()); }
  FailureOr<LossChoice> automatic(ArrayRef<Output> among);
  FailureOr<LossChoice> one(LossKind kind, ArrayRef<Output> among);
  FailureOr<Output> named(StringRef name, StringRef flag);
  std::vector<Output> ofRank(ArrayRef<Output> among, int64_t rank);

  func::FuncOp forward;
  std::vector<Output> outputs; ///< the float ones
};

std::vector<Output> Chooser::ofRank(ArrayRef<Output> among, int64_t rank) {
  std::vector<Output> found;
  for (const Output &output : among)
    if (output.type().getRank() == rank)
      found.push_back(output);
  return found;
}

FailureOr<Output> Chooser::named(StringRef name, StringRef flag) {
  for (const Output &output : outputs)
    if (output.name == name)
      return output;
  return error() << flag << " names '" << name
                 << "', which is not an output of float type; the model has " << list(outputs),
         failure();
}

/// The only one, or the one that is called logits among several.
FailureOr<LossChoice> Chooser::one(LossKind kind, ArrayRef<Output> among) {
  if (among.size() == 1)
    return LossChoice{kind, among.front(), {}};
  for (const Output &output : among)
    if (kind != LossKind::output && output.name == "logits")
      return LossChoice{kind, output, {}};
  return error() << "the loss could come from any of the outputs " << list(among)
                 << "; choose one with --loss output:NAME",
         failure();
}

FailureOr<LossChoice> Chooser::automatic(ArrayRef<Output> among) {
  std::vector<Output> losses, others;
  for (const Output &output : among) {
    if (!isLossInFile(forward, output))
      others.push_back(output);
    else if (isScalar(output))
      losses.push_back(output);
  }
  if (!losses.empty())
    return one(LossKind::output, losses);
  if (auto logits = ofRank(others, 3); !logits.empty())
    return one(findInput(forward, "decoder_input_ids") ? LossKind::token : LossKind::nextToken,
               logits);
  if (auto logits = ofRank(others, 2); !logits.empty())
    return one(LossKind::classes, logits);
  return error() << "none of the outputs " << list(among)
                 << " has the rank of logits (3 for tokens, 2 for classes); choose the loss with "
                    "--loss mse or --loss output:NAME"
                 << recipe("outputs"),
         failure();
}

FailureOr<LossChoice> Chooser::choose(StringRef loss) {
  if (outputs.empty())
    return error() << "the model has no output of float type, so there is nothing to train"
                   << recipe("outputs"),
           failure();
  if (loss == "auto")
    return automatic(outputs);
  if (loss.consume_front("output:")) {
    auto output = named(loss, "--loss output");
    if (failed(output))
      return failure();
    if (isScalar(*output))
      return LossChoice{LossKind::output, *output, {}};
    return automatic(*output);
  }
  auto kind = llvm::StringSwitch<std::optional<LossKind>>(loss)
                  .Case("next-token", LossKind::nextToken)
                  .Case("token", LossKind::token)
                  .Case("class", LossKind::classes)
                  .Case("mse", LossKind::mse)
                  .Default(std::nullopt);
  if (!kind)
    return error() << "unknown loss '" << loss
                   << "'; --loss takes auto, next-token, token, class, mse or output:NAME",
           failure();
  if (*kind == LossKind::mse)
    return one(*kind, outputs);
  int64_t rank = *kind == LossKind::classes ? 2 : 3;
  auto logits = ofRank(outputs, rank);
  if (logits.empty())
    return error() << "--loss " << loss << " needs logits of rank " << rank
                   << ", but none of the outputs " << list(outputs) << " has it",
           failure();
  return one(*kind, logits);
}

FailureOr<AuxTerm> Chooser::auxTerm(StringRef text) {
  auto [name, weightText] = text.rsplit('=');
  double weight;
  if (weightText.getAsDouble(weight))
    return error() << "--aux '" << text << "' is not NAME=WEIGHT, such as aux_loss=0.02", failure();
  auto output = named(name, "--aux");
  if (failed(output))
    return failure();
  if (!isScalar(*output))
    return error() << "--aux output '" << name << "' of type " << output->type()
                   << " is not a scalar",
           failure();
  return AuxTerm{*output, weight};
}

} // namespace

FailureOr<LossChoice> train::chooseLoss(func::FuncOp forward, StringRef loss,
                                        ArrayRef<std::string> aux) {
  Chooser chooser(forward);
  auto choice = chooser.choose(loss);
  if (failed(choice))
    return failure();
  for (const std::string &text : aux) {
    auto term = chooser.auxTerm(text);
    if (failed(term))
      return failure();
    choice->aux.push_back(*term);
  }
  return choice;
}
