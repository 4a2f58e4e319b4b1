//===- Routers.cpp - What chooses experts in a program -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Routers.h"
#include "Text.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

/// The symbol of the matrix by which the logits before `route` were made: the last one that was
/// read and has a row or a column for each expert. Null where there is none.
static StringAttr scoringParameter(exec::RouteOp route, int64_t experts) {
  for (Operation *op = route->getPrevNode(); op; op = op->getPrevNode()) {
    if (!isa<exec::GemmOp>(op))
      continue;
    for (Value operand : op->getOperands()) {
      Operation *root = exec::rootOf(operand).getDefiningOp();
      if (isa_and_nonnull<exec::ParamOp, exec::ShadowOp>(root) &&
          llvm::is_contained(cast<MemRefType>(root->getResult(0).getType()).getShape(), experts))
        return root->getAttrOfType<FlatSymbolRefAttr>("parameter").getAttr();
    }
  }
  return {};
}

/// Those of a function that makes a forward. ownParameter and ownNode: what its names stand for.
static void addRouters(ProgramInfo &info, func::FuncOp forward,
                       llvm::function_ref<StringAttr(StringAttr)> ownParameter,
                       llvm::function_ref<StringAttr(StringAttr)> ownNode) {
  for (auto route : forward.getOps<exec::RouteOp>()) {
    const nn::RoutingType type = route.getRouting().getType();
    std::string name;
    if (StringAttr symbol = scoringParameter(route, type.getExperts())) {
      name = info.parameters[info.parameterOf.lookup(ownParameter(symbol))].torchName;
      StringRef text = name;
      text.consume_back(".weight");
      name = text.str();
    } else if (name = nodeNames(route.getLoc(), 1, ownNode); name.empty()) {
      name = "router " + std::to_string(info.routers.size());
    }
    info.routers.push_back({name, type.getExperts(), type.getTokens() * type.getK()});
  }
}

void target::collectRouters(ProgramInfo &info) {
  auto same = [](StringAttr name) { return name; };
  if (!info.pipeline)
    return addRouters(info, info.microStep, same, same);
  const pipe::PipelineProgram &program = info.pipeline->program;
  for (int stage = 0; stage < program.numStages(); ++stage) {
    info.pipeline->stages[stage].firstRouter = info.routers.size();
    addRouters(
        info, program.functionOf({scheduling::TaskKind::Forward, 0, stage, 0}),
        [&](StringAttr name) { return program.parameterOf(stage, name); },
        [&](StringAttr name) { return program.nodeOf(stage, name); });
  }
}

size_t target::numberInFunction(exec::RouteOp route, const llvm::DenseSet<Operation *> &ofSecond) {
  const bool second = ofSecond.contains(route);
  return llvm::count_if(route->getBlock()->getOps<exec::RouteOp>(), [&](exec::RouteOp other) {
    return other->isBeforeInBlock(route) && ofSecond.contains(other) == second;
  });
}

std::string target::routerTable(const ProgramInfo &info) {
  std::string rows;
  int64_t offset = 0;
  for (const RouterEntry &router : info.routers) {
    rows += "    {" + quoted(router.name) + ", " + std::to_string(router.experts) + ", " +
            std::to_string(router.pairs) + ", " + std::to_string(offset) + "},\n";
    offset += router.experts;
  }
  if (rows.empty())
    return "";
  return "// what scores, experts, pairs of a micro-batch, offset of the counts\n"
         "static const RouterInfo routers[] = {\n" +
         rows + "};\n\n";
}
