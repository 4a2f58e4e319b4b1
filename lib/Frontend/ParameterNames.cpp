//===- ParameterNames.cpp - What names and ATen calls tell of a weight ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ParameterNames.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace mlir;
using namespace moire;
using namespace moire::frontend;

FxCall::FxCall(StringRef text) {
  StringRef arguments;
  std::tie(target, arguments) = text.split(" = ").second.split('(');
  for (size_t at; (at = arguments.find('%')) != StringRef::npos;) {
    arguments = arguments.drop_front(at + 1);
    names.push_back(
        arguments.take_while([](char c) { return isAlnum(c) || c == '_' || c == '.'; }));
  }
}

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

Signature::Signature(ModuleOp module) {
  auto signature = module->getAttrOfType<ArrayAttr>("onnx.graph_signature");
  if (!signature)
    return;
  for (auto [order, element] : llvm::enumerate(signature)) {
    auto parts = dyn_cast<ArrayAttr>(element);
    if (!parts || parts.size() != 3 || !llvm::all_of(parts, llvm::IsaPred<StringAttr>))
      continue;
    auto text = [&](unsigned i) { return cast<StringAttr>(parts[i]).getValue(); };
    byPlaceholder[text(0)] = byTarget[text(2)] = entries.size();
    entries.push_back({text(0), text(1), text(2), static_cast<unsigned>(order)});
  }
}

const Signature::Entry *Signature::findPlaceholder(StringRef name) const {
  auto found = byPlaceholder.find(name);
  return found == byPlaceholder.end() ? nullptr : &entries[found->second];
}

const Signature::Entry *Signature::findTarget(StringRef name) const {
  auto found = byTarget.find(name);
  return name.empty() || found == byTarget.end() ? nullptr : &entries[found->second];
}

//===----------------------------------------------------------------------===//
// Folding
//===----------------------------------------------------------------------===//

/// What an FX value's name says about the call that made it: the call's name,
/// with a number behind it.
static std::optional<Folding::Kind> getKindOfName(StringRef name) {
  StringRef base = name.rtrim("0123456789");
  if (base.size() < name.size())
    base.consume_back("_");
  return llvm::StringSwitch<std::optional<Folding::Kind>>(base)
      .Cases("transpose", "t", "permute", "mT", "numpy_T", "swapaxes", "swapdims", Folding::transpose)
      .Cases("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "unflatten",
             Folding::reshape)
      .Cases("_to_copy", "to", "clone", "contiguous", "alias", "detach", "lift_fresh_copy",
             Folding::same)
      .Case("select", Folding::select)
      .Case("expand", Folding::expand)
      .Default(std::nullopt);
}

/// The MatMul or Gemm of a linear layer takes the stored tensor where ATen's
/// linear takes the weight: it is the weight's transpose.
static bool isTransposedLinear(OpOperand &use, StringRef initializer, const Signature &signature) {
  auto node = dyn_cast<moire::onnx::NodeOp>(use.getOwner());
  if (!node || use.getOperandNumber() != 1 ||
      !(node.getOpType() == "MatMul" || (node.getOpType() == "Gemm" && !node.getInt("transB", 0))))
    return false;
  if (!node.getFxNode())
    return StringRef(initializer).starts_with("val_");
  FxCall call(*node.getFxNode());
  return call.target.starts_with("aten.linear") && !llvm::is_contained(call.names, initializer);
}

Folding moire::frontend::inferFolding(moire::onnx::InitializerOp op, const Signature &signature) {
  auto type = op.getType();
  Folding folding;
  folding.shape.assign(type.getShape().begin(), type.getShape().end());

  // 1. The steps on the way: FX values that were folded, and this one itself.
  SmallVector<StringRef> steps;
  if (op.getFoldedFrom())
    for (StringRef name : op.getFoldedFromAttr().getAsValueRange<StringAttr>())
      if (!StringRef(name).starts_with("val_") && !signature.findTarget(name) &&
          !name.contains('.'))
        steps.push_back(name);
  if (!op.getName().starts_with("val_") && !op.getName().contains('.'))
    steps.push_back(op.getName());
  unsigned transposes = 0, ones = 0;
  bool reshaped = false, dropsAllOnes = false;
  for (StringRef step : steps) {
    std::optional<Folding::Kind> kind = getKindOfName(step);
    if (!kind || *kind == Folding::expand || *kind == Folding::select) {
      folding.kind = kind.value_or(Folding::unknown);
      return folding;
    }
    transposes += *kind == Folding::transpose;
    reshaped |= *kind == Folding::reshape;
    ones += step.starts_with("unsqueeze");
    dropsAllOnes |= *kind == Folding::reshape && !step.starts_with("unsqueeze");
  }
  if (type.getRank() >= 2)
    for (OpOperand &use : op->getUses())
      if (isTransposedLinear(use, op.getName(), signature)) {
        ++transposes;
        break;
      }

  // 2. Undo them.
  if (reshaped) {
    folding.kind = transposes % 2 ? Folding::unknown : Folding::reshape;
    // The file keeps no shape from before. Dims of size 1 that the exporter
    // put in are left out where their number fits, or where a view has only
    // them beside one other dim (GPT-OSS sinks: [1, heads, 1, 1]).
    SmallVector<int64_t> without;
    llvm::copy_if(folding.shape, std::back_inserter(without), [](int64_t d) { return d != 1; });
    unsigned present = folding.shape.size() - without.size();
    if (!without.empty() && (present == ones || (dropsAllOnes && without.size() == 1)))
      folding.shape = without;
    return folding;
  }
  if (transposes % 2 && type.getRank() >= 2) {
    folding.kind = Folding::transpose;
    std::swap(folding.shape[folding.shape.size() - 1], folding.shape[folding.shape.size() - 2]);
  }
  return folding;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

int64_t moire::frontend::getNameNumber(StringRef name) {
  int64_t number = 0;
  if (name.substr(name.rtrim("0123456789").size()).getAsInteger(10, number))
    return 0;
  return number;
}

bool moire::frontend::isMadeUp(StringRef name) {
  if (name.starts_with("onnx::") || name.starts_with("/"))
    return true;
  return name.consume_front("val_") && llvm::all_of(name, isDigit);
}

bool moire::frontend::isBufferName(StringRef name) {
  StringRef last = name.rsplit('.').second.empty() ? name : name.rsplit('.').second;
  return llvm::StringSwitch<bool>(last)
      .Cases("inv_freq", "original_inv_freq", "freqs_cis", "freqs", true)
      .Cases("running_mean", "running_var", "num_batches_tracked", true)
      .Cases("cos_cached", "sin_cached", "cos", "sin", "position_ids", "token_type_ids", true)
      .Cases("alibi", "slopes", "relative_position_index", true)
      .Cases("masked_bias", "mask", "causal_mask", "attn_mask", "tril", "e_score_correction_bias",
             true)
      .Default(false);
}

std::string moire::frontend::nameByModule(OpOperand &use) {
  auto node = dyn_cast<moire::onnx::NodeOp>(use.getOwner());
  if (!node || !node.getModule() || node.getDomain())
    return {};
  unsigned i = use.getOperandNumber();
  StringRef type = node.getOpType();
  bool isLayer = type == "MatMul" || type == "Gemm" || type == "Conv" || type == "ConvTranspose" ||
                 type == "LayerNormalization" || type == "BatchNormalization" ||
                 type == "InstanceNormalization" || type == "GroupNormalization";
  if (!isLayer || i == 0 || i > 2)
    return {};
  return (*node.getModule() + (i == 1 ? ".weight" : ".bias")).str();
}
