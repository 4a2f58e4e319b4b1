//===- OnnxToNN.cpp - The walk over the graph ----------------------------===//
//
//     1. refuse what is wrong as a whole; list all op types without a handler;
//     2. walk the nodes in order, onnx value -> value of static type;
//     3. create the parameters that are read, drop @main and dead ops.
//
// A node that cannot be converted leaves its results without values. Nodes that
// need them are passed over in silence, so that each reported error stands for
// itself.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "ParameterReads.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/Diagnostics.h"
#include "moire/Conversion/Conversion.h"
#include "moire/Support/Recipes.h"
#include <set>

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

static constexpr size_t maxErrors = 20;
static constexpr int64_t oldestOpset = 7;

std::vector<std::string> conversion::getSupportedOpTypes() {
  std::vector<std::string> names{"If"};
  for (auto &entry : HandlerTable::get().all())
    names.push_back(entry.getKey().str());
  llvm::sort(names);
  return names;
}

/// The recipe of an export without ops of `type`; empty where there is none.
static std::string recipeFor(StringRef type) {
  if (type == "Loop" || type == "Scan" || type == "Compress" || type == "Unique" ||
      type.contains("Sequence"))
    return recipe("shapes-from-data");
  if (type.contains("QuantizeLinear") || type.contains("QLinear") || type.ends_with("NBits"))
    return recipe("weights");
  return type.starts_with("com.microsoft::") ? recipe("fused-ops") : "";
}

/// One error for all op types without a handler.
static LogicalResult checkOpTypes(func::FuncOp main) {
  struct Missing {
    int64_t count = 0;
    std::string first;
  };
  std::map<std::string, Missing> missing;
  int64_t opset = -1;
  main.walk([&](onnx::NodeOp node) {
    std::string type = node.getQualifiedOpType();
    if (!node.getDomain())
      opset = node.getOpsetVersion();
    if (type == "If" || HandlerTable::get().find(type))
      return;
    Missing &m = missing[type];
    if (m.count++ == 0)
      if (auto name = dyn_cast<NameLoc>(node.getLoc()))
        m.first = name.getName().str();
  });
  if (opset > 0 && opset < oldestOpset)
    return emitError(main.getLoc())
           << "opset " << opset << " is older than " << oldestOpset
           << ", the oldest that is supported; export the model anew" << recipe("opset");
  if (missing.empty())
    return success();
  auto error = emitError(main.getLoc());
  error << missing.size() << (missing.size() == 1 ? " op type is" : " op types are")
        << " not supported: ";
  llvm::interleave(
      missing,
      [&](auto &entry) {
        bool one = entry.second.count == 1;
        error << entry.first << " (" << entry.second.count << (one ? " node" : " nodes");
        if (!entry.second.first.empty())
          error << (one ? " '" : ", first '") << entry.second.first << "'";
        error << ")";
      },
      [&] { error << ", "; });
  std::set<std::string> recipes;
  for (auto &[type, nodes] : missing)
    recipes.insert(recipeFor(type));
  for (const std::string &recipe : recipes)
    error << recipe;
  return error;
}

namespace {
class Walk {
public:
  Walk(func::FuncOp main, func::FuncOp forward, const frontend::ParameterTable &table)
      : main(main), forward(forward), e(forward), parameters(table, e) {}

  /// Fails after errors, and in silence where an op type is missing.
  LogicalResult run();
  ParameterReads &getParameters() { return parameters; }

private:
  Value valueOf(OpOperand &operand) {
    if (operand.get().getDefiningOp<onnx::InitializerOp>())
      return parameters.get(operand);
    return values.lookup(operand.get());
  }
  void walk();
  void convert(onnx::NodeOp op);
  void convertIf(onnx::NodeOp op);

  func::FuncOp main, forward;
  Emitter e;
  ParameterReads parameters;
  DenseMap<Value, Value> values;
  /// What was reported, each sentence once.
  struct Error {
    Location loc;
    std::string text;
    int more = 0;
  };
  std::vector<Error> errors;
  int64_t errorCount = 0;
  bool complete = false;
};
} // namespace

/// A condition that follows from the shapes chooses its graph, which takes the
/// node's place (the TorchScript exporter writes such ones).
void Walk::convertIf(onnx::NodeOp op) {
  e.loc = op.getLoc();
  Value condition = valueOf(op->getOpOperand(0));
  if (!condition)
    return;
  auto chosen = uniformOf(condition);
  if (!chosen)
    return (void)(emitError(op.getLoc()) << "If: the condition is computed from data, but only "
                                            "what follows from the shapes can be compiled"
                                         << recipe("shapes-from-data"));
  StringRef name = *chosen != 0 ? "then_branch" : "else_branch";
  for (auto [branch, region] : llvm::zip(*op.getGraphNames(), op.getGraphs())) {
    if (cast<StringAttr>(branch).getValue() != name)
      continue;
    for (auto node : region.front().getOps<onnx::NodeOp>())
      convert(node);
    Operation *yield = region.front().getTerminator();
    for (auto [result, operand] : llvm::zip(op.getResults(), yield->getOpOperands()))
      if (Value v = valueOf(operand))
        values[result] = v;
  }
}

void Walk::convert(onnx::NodeOp op) {
  if (op.getQualifiedOpType() == "If" && op.getGraphNames() && op.getInput(0))
    return convertIf(op);
  const HandlerTable::Entry *entry = HandlerTable::get().find(op.getQualifiedOpType());
  if (!entry)
    return;
  e.loc = op.getLoc();
  SmallVector<Value> inputs;
  for (OpOperand &operand : op->getOpOperands()) {
    bool absent = isa<NoneType>(operand.get().getType());
    inputs.push_back(absent ? Value() : valueOf(operand));
    if (!absent && !inputs.back())
      return; // reported where it was lost
  }
  Node node(op, e, inputs);
  int64_t before = errorCount;
  for (unsigned i = 0; i < entry->minInputs; ++i)
    if (!node.has(i))
      return (void)node.fail("input " + Twine(i) + " is missing");
  if (failed(entry->handler(node))) {
    if (errorCount == before)
      (void)node.fail("this form is not supported");
    return;
  }
  for (auto [i, result] : llvm::enumerate(node.getResults())) {
    if (!result && node.wants(i))
      (void)node.fail("its output " + Twine(i) + " is not supported");
    if (result)
      values[op.getResult(i)] = result;
  }
}

LogicalResult Walk::run() {
  // Sixteen loops over experts are one sentence, not sixteen.
  {
    ScopedDiagnosticHandler gather(main.getContext(), [&](Diagnostic &d) {
      if (d.getSeverity() != DiagnosticSeverity::Error)
        return failure(); // the next handler prints it
      ++errorCount;
      std::string text = d.str();
      auto same = llvm::find_if(errors, [&](const Error &e) { return e.text == text; });
      if (same != errors.end())
        ++same->more;
      else
        errors.push_back({d.getLocation(), text});
      return success();
    });
    walk();
  }
  if (errors.empty())
    return success(complete);
  for (const Error &error : llvm::ArrayRef(errors).take_front(maxErrors)) {
    auto diagnostic = emitError(error.loc) << error.text;
    if (error.more)
      diagnostic << " (and at " << error.more << " more " << (error.more == 1 ? "node" : "nodes") << ")";
  }
  if (errors.size() > maxErrors)
    emitError(main.getLoc()) << errors.size() - maxErrors << " more errors of other kinds follow";
  return failure();
}

void Walk::walk() {
  for (auto [from, to] : llvm::zip(main.getArguments(), forward.getArguments()))
    values[from] = to;
  for (Operation &op : main.front()) {
    if (auto node = dyn_cast<onnx::NodeOp>(op))
      convert(node);
  }
  auto ret = cast<func::ReturnOp>(main.front().getTerminator());
  SmallVector<Value> outputs;
  e.loc = ret.getLoc();
  for (OpOperand &operand : ret->getOpOperands())
    outputs.push_back(valueOf(operand));
  complete = !llvm::is_contained(outputs, Value());
  if (!complete)
    return;
  e.builder.create<func::ReturnOp>(ret.getLoc(), outputs);
  forward.setFunctionType(FunctionType::get(main.getContext(), forward.getArgumentTypes(),
                                            ValueRange(outputs).getTypes()));
}

/// @forward with @main's arguments in the types of values; null after an error.
static func::FuncOp createForward(func::FuncOp main) {
  SmallVector<Type> inputs;
  for (BlockArgument arg : main.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    Type element = type ? convertElementType(type.getElementType()) : Type();
    auto name = main.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
    auto error = [&]() {
      return emitError(main.getLoc())
             << "input '" << (name ? name.getValue() : "?") << "' of type " << arg.getType();
    };
    if (!element) {
      error() << " has no arithmetic here";
      return {};
    }
    if (!type.hasStaticShape()) {
      error() << " has dimensions without a size; bind them first";
      return {};
    }
    inputs.push_back(RankedTensorType::get(type.getShape(), element));
  }
  OpBuilder b(main);
  auto forward = b.create<func::FuncOp>(main.getLoc(), "forward", b.getFunctionType(inputs, {}));
  forward.addEntryBlock();
  return forward;
}

static void copyAttributes(func::FuncOp main, func::FuncOp forward) {
  if (ArrayAttr args = main.getAllArgAttrs())
    forward.setAllArgAttrs(args);
  if (ArrayAttr results = main.getAllResultAttrs())
    forward.setAllResultAttrs(results);
}

LogicalResult conversion::convertOnnxToNN(ModuleOp module, const frontend::ParameterTable &table) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || !main.getBody().hasOneBlock())
    return module.emitError("module has no function @main; import an ONNX file first");
  if (failed(checkTrainable(main)))
    return failure();
  bool known = succeeded(checkOpTypes(main));
  func::FuncOp forward = createForward(main);
  if (!forward)
    return failure();
  Walk walk(main, forward, table);
  if (failed(walk.run()) || !known) {
    forward.erase();
    return failure();
  }
  copyAttributes(main, forward);
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(forward.front())))
    if (isOpTriviallyDead(&op) && !isa<pipe::ReadOp>(op))
      op.erase();
  walk.getParameters().createParameters(module);
  for (auto read : llvm::make_early_inc_range(forward.getOps<pipe::ReadOp>()))
    if (read.use_empty())
      read.erase();
  main.erase();
  for (NamedAttribute attr : llvm::to_vector(module->getAttrs()))
    if (attr.getName().strref().starts_with("onnx."))
      module->removeAttr(attr.getName());
  return success();
}
