//===- CostFromIRTest.cpp - Costs of real models against formulas --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostFromIR/CostFromIR.h"
#include "moire/Support/Dialects.h"
#include "moire/Support/Diagnostics.h"
#include "gtest/gtest.h"

using namespace moire;

namespace {

struct CostFromIR : testing::Test {
  mlir::DialectRegistry registry;
  std::unique_ptr<mlir::MLIRContext> context;

  ImportedCost cost(const std::string &model, const std::vector<std::string> &bind) {
    registerDialects(registry);
    context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
    UserDiagnostics diagnostics(context.get());
    CompileOptions options;
    options.model = model;
    options.bind = bind;
    auto result = importCost(options, *context);
    EXPECT_TRUE(result) << model;
    return result.value_or(ImportedCost());
  }
  static void print(const ImportedCost &c) {
    std::printf("tokens %ld flops %.4g params %ld kept %ld arena %ld seq %d vocab %d heads %d tied %g\n", (long)c.tokens,
                (double)c.forwardFlops, (long)c.parameterBytes, (long)c.keptBytes, (long)c.arenaBytes, c.model.sequence, c.model.vocabulary, c.model.heads, c.model.tied);
    for (auto &p : c.model.parts) {
      std::printf("%s: attn %g/%g traffic %g %g %g kernels %d params %g %g %g kept %g %g %g experts %d top %d ex %g reduce %g out %g\n", p.name.c_str(), p.attentionFlops, p.fullAttentionFlops,
                  p.residualTraffic, p.splitTraffic, p.routedTraffic, p.kernels, p.parameters, p.replicatedParameters, p.expertParameters, p.kept[0].residual, p.kept[0].split, p.kept[0].routed, p.experts, p.topK, p.exchangeElements, p.reduceElements, p.outputElements);
      for (auto &q : p.products) std::printf("    %s k %g n %g rows %g experts %d split %d\n", q.name.c_str(), q.k, q.n, q.rowsPerToken, q.experts, q.split);
    }
  }
};

TEST_F(CostFromIR, Try) {
  print(cost(getenv("MODEL"), {getenv("BIND1"), getenv("BIND2")}));
}
} // namespace
