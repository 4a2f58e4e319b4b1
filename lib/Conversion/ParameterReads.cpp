//===- ParameterReads.cpp - Initializers as reads of parameters ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ParameterReads.h"
#include "dialects/pipe/Pipe.h"
#include "llvm/Support/Regex.h"
#include <set>

using namespace mlir;
using namespace moire;
using namespace moire::conversion;
using frontend::Parameter;

Type conversion::convertElementType(Type element) {
  if (element.isF32() || element.isF64() || element.isInteger(1))
    return element;
  if (element.isF16() || element.isBF16())
    return Float32Type::get(element.getContext());
  if (isa<IntegerType>(element))
    return IntegerType::get(element.getContext(), 64);
  return {};
}

DenseElementsAttr conversion::convertElements(DenseElementsAttr attr) {
  Type from = attr.getElementType(), to = convertElementType(from);
  if (!to || from == to)
    return to ? attr : DenseElementsAttr();
  if (auto floats = dyn_cast<DenseFPElementsAttr>(attr))
    return floats.mapValues(to, [](const APFloat &v) {
      APFloat wide = v;
      bool lossy;
      wide.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &lossy);
      return wide.bitcastToAPInt();
    });
  bool isUnsigned = from.isUnsignedInteger();
  return cast<DenseIntElementsAttr>(attr).mapValues(
      to, [&](const APInt &v) { return isUnsigned ? v.zextOrTrunc(64) : v.sextOrTrunc(64); });
}

//===----------------------------------------------------------------------===//
// Fresh weights
//===----------------------------------------------------------------------===//

namespace {
struct Init {
  StringRef kind = "normal";
  double std = 0.02;
};
} // namespace

/// The layers of the model: the first number in the parameters' names.
static int64_t countLayers(const frontend::ParameterTable &table) {
  std::set<std::string> layers;
  llvm::Regex number("\\.([0-9]+)\\.");
  for (const Parameter &p : table.parameters) {
    SmallVector<StringRef> match;
    if (!p.frozen && number.match(p.symbol, &match))
      layers.insert(match[1].str());
  }
  return layers.size();
}

/// GPT-2's rule: what writes to the residual stream starts smaller, by the
/// square root of how many do (two a layer).
static bool isOutputProjection(StringRef name) {
  static const llvm::Regex projection("(o_proj|out_proj|c_proj|down_proj|dense_4h_to_h|(attn|"
                                      "attention)[a-z_]*\\.(proj|wo|output\\.dense)"
                                      "|(mlp|ffn|feed_forward)[a-z_]*\\.(fc2|w2|wo)|experts\\.[0-9]"
                                      "+\\.(w2|fc2|wo)|output\\.dense|linear2)"
                                      "(\\.weight)?$");
  return const_cast<llvm::Regex &>(projection).match(name);
}

static Init initOf(const Parameter &p, ArrayRef<OpOperand *> uses, int64_t layers) {
  StringRef name = p.symbol;
  bool isVector = p.shape.size() <= 1;
  if (name.ends_with("bias") || name.ends_with("_bias_"))
    return {"zeros"};
  for (OpOperand *use : uses) {
    auto node = dyn_cast<onnx::NodeOp>(use->getOwner());
    if (!node || !isVector)
      continue;
    StringRef type = node.getOpType();
    unsigned i = use->getOperandNumber();
    if (type.ends_with("Normalization")) {
      unsigned scale = type.starts_with("Skip") ? 2 : 1;
      return {i == scale || (type == "BatchNormalization" && i == 4) ? "ones" : "zeros"};
    }
    if (type == "Mul")
      return {"ones"};
    if (type == "Add" || type == "Gemm" || type == "Conv")
      return {"zeros"};
  }
  Init init;
  if (isVector)
    init.kind = name.contains("norm") ? "ones" : "zeros";
  else if (layers && isOutputProjection(name))
    init.std = 0.02 / std::sqrt(2.0 * layers);
  return init;
}

//===----------------------------------------------------------------------===//
// Reads
//===----------------------------------------------------------------------===//

Value ParameterReads::read(unsigned parameter) {
  const Parameter &p = table.parameters[parameter];
  Value &v = reads[parameter];
  if (v)
    return v;
  Type element = convertElementType(p.elementType);
  if (!element) {
    emitError(e.loc) << "weight '" << p.symbol << "' has elements of type " << p.elementType
                     << ", which have no arithmetic here; export the model in float32";
    return {};
  }
  // Not through the folding builder: its value is not known.
  v = e.builder.create<pipe::ReadOp>(e.loc, e.tensor(p.shape, element), p.symbol);
  return v;
}

Value ParameterReads::get(OpOperand &operand) {
  auto init = operand.get().getDefiningOp<onnx::InitializerOp>();
  auto type = cast<RankedTensorType>(init.getType());
  const frontend::ParameterUse *use = table.lookup(operand);
  if (!use) {
    auto value = dyn_cast_or_null<DenseElementsAttr>(init.getValueAttr());
    DenseElementsAttr converted = value ? convertElements(value) : value;
    if (converted)
      return e.constant(converted);
    emitError(e.loc) << "constant '" << init.getName() << "' of type " << type
                     << (value ? " has no arithmetic here" : " is too large to be one");
    return {};
  }
  Value v = read(use->parameter);
  if (!v)
    return v;
  auto swapped = [&](Value x) {
    DimVector perm = upTo(rankOf(x));
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    return e.transpose(x, perm);
  };
  auto entry = [&] {
    return e.reshape(e.sliceDim(v, 0, use->index, use->index + 1), shapeOf(v).drop_front());
  };
  switch (use->transform) {
  case pipe::Transform::same:
    break;
  case pipe::Transform::transpose_last2:
    v = swapped(v);
    break;
  case pipe::Transform::reshape:
    v = e.reshape(v, type.getShape());
    break;
  case pipe::Transform::slice:
    v = entry();
    break;
  case pipe::Transform::slice_transpose:
    v = swapped(entry());
    break;
  }
  // A slice may also have lost or won dims of size 1.
  return e.reshape(v, type.getShape());
}

void ParameterReads::createParameters(ModuleOp module) {
  OpBuilder b(module.getContext());
  b.setInsertionPointToStart(module.getBody());
  std::vector<SmallVector<OpOperand *>> uses(table.parameters.size());
  for (auto &[operand, use] : table.uses)
    uses[use.parameter].push_back(operand);
  int64_t layers = countLayers(table);
  for (auto [i, p] : llvm::enumerate(table.parameters)) {
    if (!reads[i] || reads[i].use_empty())
      continue;
    SmallVector<Attribute> sources;
    for (const frontend::ParameterSource &s : p.sources)
      sources.push_back(pipe::SourceAttr::get(b.getContext(), b.getStringAttr(s.initializer),
                                              b.getStringAttr(s.file), s.offset, s.bytes,
                                              s.elementType, s.transform, s.index));
    // The uses come in the order of a hash table.
    llvm::sort(uses[i], [](OpOperand *x, OpOperand *y) {
      return x->getOwner() == y->getOwner() ? x->getOperandNumber() < y->getOperandNumber()
                                            : x->getOwner()->isBeforeInBlock(y->getOwner());
    });
    Init init = initOf(p, uses[i], layers);
    bool normal = init.kind == "normal";
    b.create<pipe::ParameterOp>(
        NameLoc::get(b.getStringAttr(p.symbol)), b.getStringAttr(p.symbol),
        TypeAttr::get(reads[i].getType()),
        p.torchName.empty() ? StringAttr() : b.getStringAttr(p.torchName), b.getArrayAttr(sources),
        p.frozen ? b.getUnitAttr() : UnitAttr(), /*group=*/nullptr, b.getStringAttr(init.kind),
        normal ? b.getF64FloatAttr(init.std) : FloatAttr(), /*sharding=*/nullptr,
        /*zero=*/nullptr, /*zero_axes=*/nullptr);
  }
}
