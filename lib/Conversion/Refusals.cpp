//===- Refusals.cpp - Graphs that look right and are wrong ---------------===//
//
// Each hazard is known from files that exporters write without a warning; they
// run, and give wrong numbers or fail for other inputs than the traced one.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/IR/TypeUtilities.h"
#include "moire/Conversion/Conversion.h"
#include "moire/Support/Recipes.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moire;
using onnx::NodeOp;

static NodeOp producer(Value v) { return v ? v.getDefiningOp<NodeOp>() : NodeOp(); }

/// What only moves or retypes the elements of its input 0.
static bool isLayout(NodeOp op) {
  static const llvm::StringSet<> layout{"Cast",    "Reshape",  "Unsqueeze", "Squeeze", "Expand",
                                        "Flatten", "Identity", "Transpose", "Slice"};
  return op && layout.contains(op.getOpType());
}

static std::optional<SmallVector<int64_t>> constantInts(Value v) {
  auto init = v ? v.getDefiningOp<onnx::InitializerOp>() : onnx::InitializerOp();
  auto dense = init ? dyn_cast_or_null<DenseIntElementsAttr>(init.getValueAttr())
                    : DenseIntElementsAttr();
  if (!dense)
    return std::nullopt;
  SmallVector<int64_t> out;
  for (const APInt &i : dense.getValues<APInt>())
    out.push_back(i.getSExtValue());
  return out;
}

/// "Split 'node_Split_12'"
static std::string describe(NodeOp op) {
  std::string text = op.getQualifiedOpType();
  if (auto name = dyn_cast<NameLoc>(op.getLoc()))
    text += (" '" + name.getName().strref() + "'").str();
  return text;
}

//===----------------------------------------------------------------------===//
// Key-value caches
//===----------------------------------------------------------------------===//

static LogicalResult checkCache(func::FuncOp main) {
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    auto attr = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
    StringRef name = attr ? attr.getValue() : "";
    bool cache = name.starts_with("past_") || name.starts_with("past.") ||
                 name.contains("past_key") || name.contains("past_value") ||
                 name.contains("key_cache") || name.contains("value_cache");
    if (cache)
      return emitError(main.getLoc())
             << "input '" << name << "' is a key-value cache of earlier tokens, which training "
             << "does not have and cannot send gradients through; export the model with "
                "use_cache=False"
             << recipe("cache");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Experts that the traced sample did not hit
//===----------------------------------------------------------------------===//

/// The number of experts behind a mask of hits: OneHot's depth.
static std::optional<int64_t> expertsBehind(NodeOp op) {
  for (int steps = 0; op && steps < 8; ++steps) {
    if (op.getOpType() == "OneHot") {
      auto depth = constantInts(op.getInput(1));
      return depth && depth->size() == 1 ? std::optional<int64_t>(depth->front()) : std::nullopt;
    }
    op = producer(op.getInput(0));
  }
  return std::nullopt;
}

/// The NonZero whose number of findings a Split cuts into fixed parts: one part
/// a hit expert, as the traced sample had them. Null for another Split.
static NodeOp splitFindings(NodeOp split) {
  Value v = split.getInput(0);
  int64_t axis = split.getInt("axis", 0);
  if (axis < 0)
    return {};
  NodeOp op = producer(v);
  while (op && (op.getOpType() == "Transpose" || op.getOpType() == "Cast")) {
    if (auto perm = op.getInts("perm"); perm && op.getOpType() == "Transpose") {
      if (axis >= (int64_t)perm->size())
        return {};
      axis = (*perm)[axis];
    }
    op = producer(op.getInput(0));
  }
  return op && op.getOpType() == "NonZero" && axis == 1 ? op : NodeOp();
}

static LogicalResult checkTracedExperts(func::FuncOp main) {
  NodeOp worst; // the layer that misses most experts tells most
  int64_t parts = 0, experts = 0;
  for (NodeOp op : main.getOps<NodeOp>()) {
    NodeOp findings = op.getOpType() == "Split" ? splitFindings(op) : NodeOp();
    if (!findings)
      continue;
    int64_t all = expertsBehind(producer(findings.getInput(0))).value_or(0);
    if (worst && all - (int64_t)op.getNumResults() <= experts - parts)
      continue;
    worst = op;
    parts = op.getNumResults();
    experts = all;
  }
  if (!worst)
    return success();
  auto error = emitError(worst.getLoc());
  error << describe(worst) << " cuts what NonZero finds into " << parts
        << " fixed parts: the graph holds only the experts that the traced sample hit";
  if (experts)
    error << " (here " << parts << " of " << experts << ")";
  return error << " and is wrong for other tokens; export it with "
                  "experts_implementation=\"batched_mm\""
               << recipe("experts");
}

//===----------------------------------------------------------------------===//
// Scatters that lose duplicates
//===----------------------------------------------------------------------===//

/// Whether indices come from TopK's through a division: token = pair // k, the
/// same token for each of its k experts.
static bool dividesPairs(Value indices) {
  SmallVector<std::pair<Value, int>> work{{indices, 0}};
  llvm::DenseSet<std::pair<Value, int>> seen;
  while (!work.empty() && seen.size() < 1000) {
    auto [v, divided] = work.pop_back_val();
    NodeOp op = producer(v);
    if (!op || !seen.insert({v, divided}).second)
      continue;
    StringRef type = op.getOpType();
    if (type == "TopK") {
      if (divided && op.getNumResults() > 1 && v == op.getResult(1))
        return true;
      continue;
    }
    // Only arithmetic on indices; a gather of other values ends the search.
    if (isLayout(op)) {
      work.push_back({op.getInput(0), divided});
    } else if (llvm::is_contained({"Div", "Floor", "Sub", "Add", "Mul", "Mod", "Abs", "Sign",
                                   "Where", "Concat"}, type)) {
      for (Value input : op.getInputs())
        work.push_back({input, int(divided || type == "Div")});
    }
  }
  return false;
}

static LogicalResult checkScatter(NodeOp scatter) {
  if (scatter.getString("reduction", "none") != "none")
    return success();
  Type element = getElementTypeOrSelf(scatter.getInput(2));
  if (isa<IntegerType>(element) || !dividesPairs(scatter.getInput(1)))
    return success();
  return emitError(scatter.getLoc())
         << describe(scatter)
         << " writes the outputs of a token's experts to one row without reduction=\"add\", so "
            "that all but one are lost; the exporter lost an index_add, export with "
            "torch.onnx.export(dynamo=True)"
         << recipe("experts");
}

LogicalResult conversion::checkTrainable(func::FuncOp main) {
  if (failed(checkCache(main)))
    return failure();
  bool split = failed(checkTracedExperts(main)), scatter = false;
  for (NodeOp op : main.getOps<NodeOp>()) {
    StringRef type = op.getOpType();
    if (!scatter && (type == "ScatterND" || type == "ScatterElements") && op.getInputs().size() > 2)
      scatter = failed(checkScatter(op));
  }
  return failure(split || scatter);
}
