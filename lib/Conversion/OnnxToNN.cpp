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
#include "moire/Conversion/Conversion.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

static constexpr int maxErrors = 20;
static constexpr int64_t oldestOpset = 7;

std::vector<std::string> conversion::getSupportedOpTypes() {
  std::vector<std::string> names;
  for (auto &entry : HandlerTable::get().all())
    names.push_back(entry.getKey().str());
  llvm::sort(names);
  return names;
}

/// One error for all op types without a handler.
static LogicalResult checkOpTypes(func::FuncOp main) {
  struct Missing {
    int64_t count = 0;
    std::string first;
  };
  std::map<std::string, Missing> missing;
  int64_t opset = -1;
  for (auto node : main.getOps<onnx::NodeOp>()) {
    std::string type = node.getQualifiedOpType();
    if (!node.getDomain())
      opset = node.getOpsetVersion();
    if (HandlerTable::get().find(type))
      continue;
    Missing &m = missing[type];
    if (m.count++ == 0)
      if (auto name = dyn_cast<NameLoc>(node.getLoc()))
        m.first = name.getName().str();
  }
  if (opset > 0 && opset < oldestOpset)
    return emitError(main.getLoc()) << "opset " << opset << " is older than " << oldestOpset
                                    << ", the oldest that is supported; export the model anew";
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
  return error;
}

namespace {
class Walk {
public:
  Walk(func::FuncOp main, func::FuncOp forward, const frontend::ParameterTable &table)
      : main(main), forward(forward), e(forward), parameters(table, e) {}

  LogicalResult run();
  ParameterReads &getParameters() { return parameters; }

private:
  Value valueOf(OpOperand &operand) {
    if (operand.get().getDefiningOp<onnx::InitializerOp>())
      return parameters.get(operand);
    return values.lookup(operand.get());
  }
  void convert(onnx::NodeOp op);

  func::FuncOp main, forward;
  Emitter e;
  ParameterReads parameters;
  DenseMap<Value, Value> values;
  int errors = 0;
};
} // namespace

void Walk::convert(onnx::NodeOp op) {
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
  int before = errors;
  for (unsigned i = 0; i < entry->minInputs; ++i)
    if (!node.has(i))
      return (void)node.fail("input " + Twine(i) + " is missing");
  if (failed(entry->handler(node))) {
    if (errors == before)
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
  ScopedDiagnosticHandler counter(main.getContext(), [&](Diagnostic &d) {
    errors += d.getSeverity() == DiagnosticSeverity::Error;
    return failure(); // the next handler prints it
  });
  for (auto [from, to] : llvm::zip(main.getArguments(), forward.getArguments()))
    values[from] = to;
  for (Operation &op : main.front()) {
    if (auto node = dyn_cast<onnx::NodeOp>(op))
      convert(node);
    if (errors >= maxErrors)
      return emitError(main.getLoc()) << "too many errors; the rest of the graph was not tried";
  }
  auto ret = cast<func::ReturnOp>(main.front().getTerminator());
  SmallVector<Value> outputs;
  e.loc = ret.getLoc();
  for (OpOperand &operand : ret->getOpOperands())
    outputs.push_back(valueOf(operand));
  if (errors || llvm::is_contained(outputs, Value()))
    return failure();
  e.builder.create<func::ReturnOp>(ret.getLoc(), outputs);
  forward.setFunctionType(FunctionType::get(main.getContext(), forward.getArgumentTypes(),
                                            ValueRange(outputs).getTypes()));
  return success();
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
