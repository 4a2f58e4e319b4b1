//===- CostFromIRTest.cpp - Costs of real exports against formulas -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The corpus's models have hidden width 32, 96 tokens of vocabulary, 2 sequences of 10 tokens. Its
// numbers of parameters are those of PyTorch: the elements of its reference gradients.
//
//===----------------------------------------------------------------------===//
#include "moire/CostFromIR/CostFromIR.h"
#include "moire/Support/Diagnostics.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/FileSystem.h"
#include <gtest/gtest.h>

using namespace moire;
using cost::Product;

namespace {

std::string corpus() {
  if (const char *path = std::getenv("MOIRE_CORPUS"))
    return path;
  return MOIRE_SOURCE_DIR "/../shared/corpus";
}

struct CostFromIR : testing::Test {
  ImportedCost cost(const std::string &name, std::vector<std::string> bind = {"batch=2", "seq=10"},
                    const std::string &precision = "f32") {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
    UserDiagnostics diagnostics(&context);
    CompileOptions options;
    options.model = corpus() + "/" + name + "/model.onnx";
    options.bind = std::move(bind);
    options.precision = precision;
    std::optional<ImportedCost> result = importCost(options, context);
    EXPECT_TRUE(result) << name;
    return result.value_or(ImportedCost());
  }
  void SetUp() override {
    if (!llvm::sys::fs::is_directory(corpus()))
      GTEST_SKIP() << "no corpus at " << corpus();
  }
};

std::vector<std::string> names(const ImportedCost &cost) {
  std::vector<std::string> names;
  for (const cost::Part &part : cost.model.parts)
    names.push_back(part.name);
  return names;
}

/// Forward FLOPs of a micro-batch by the parts, attention counted whole.
double forwardFlops(const ImportedCost &cost) {
  double perToken = 0;
  for (const cost::Part &part : cost.model.parts) {
    perToken += part.fullAttentionFlops;
    for (const Product &product : part.products)
      perToken += product.flopsPerToken();
  }
  return perToken * static_cast<double>(cost.tokens);
}

TEST_F(CostFromIR, Gpt2) {
  const ImportedCost gpt2 = cost("gpt2_dyn18");
  const double L = 2, h = 32, s = 10, V = 96;
  EXPECT_EQ(names(gpt2), (std::vector<std::string>{"embedding", "layer 0", "layer 1", "head"}));
  EXPECT_EQ(gpt2.tokens, 20);
  EXPECT_EQ(gpt2.model.sequence, 10);
  EXPECT_EQ(gpt2.model.vocabulary, 96);
  // 6 N for the products' parameters, and 12 L h s for attention, of which a mask leaves half.
  const double products = 12 * L * h * h + V * h;
  EXPECT_DOUBLE_EQ(gpt2.model.flopsPerToken, 6 * products + 6 * L * h * s);
  EXPECT_DOUBLE_EQ(gpt2.model.fullFlopsPerToken, 6 * products + 12 * L * h * s);
  EXPECT_DOUBLE_EQ(static_cast<double>(gpt2.forwardFlops), 20 * (2 * products + 4 * L * h * s));
  // The head's weight is the embedding's.
  EXPECT_EQ(gpt2.model.tied, V * h);
  EXPECT_EQ(gpt2.model.parameters * 4, static_cast<double>(gpt2.parameterBytes));
  const std::vector<Product> &layer = gpt2.model.parts[1].products;
  ASSERT_EQ(layer.size(), 4u);
  EXPECT_EQ(layer[0].n, 3 * h);
  EXPECT_EQ(layer[0].split, Product::Column);
  EXPECT_EQ(layer[1].split, Product::Row);
  EXPECT_EQ(layer[2].split, Product::Column);
  EXPECT_EQ(layer[3].split, Product::Row);
  EXPECT_EQ(gpt2.model.parts[1].reduceElements, 2 * h);
  EXPECT_EQ(gpt2.model.parts[1].outputElements, h);
}

TEST_F(CostFromIR, Experts) {
  const ImportedCost moe = cost("mixtral_deep_dyn18");
  EXPECT_EQ(moe.model.parts.size(), 10u); // embedding, eight layers, head
  const cost::Part &layer = moe.model.parts[4];
  EXPECT_EQ(layer.experts, 8);
  EXPECT_EQ(layer.topK, 2);
  EXPECT_EQ(layer.exchangeElements, 32);
  double grouped = 0, experts = 0;
  for (const Product &product : layer.products)
    if (product.experts > 0) {
      EXPECT_EQ(product.experts, 8);
      EXPECT_EQ(product.rowsPerToken, 2);
      grouped += product.flopsPerToken();
      experts += 8 * product.k * product.n;
    } else if (product.n == 8) {
      EXPECT_EQ(product.split, Product::Whole) << "the router";
    }
  // Each token meets 2 of 8 experts, each parameter for one multiplication and one addition.
  EXPECT_EQ(layer.expertParameters, experts);
  EXPECT_EQ(grouped, 2 * layer.expertParameters * 2 / 8);
}

/// Six forms of one model, of which four can be compiled, cost the same.
TEST_F(CostFromIR, FormsOfOneModel) {
  const ImportedCost batched = cost("mixtral_batched_dyn18");
  for (const char *form : {"mixtral_router_dyn18", "mixtral_contrib_moe_dyn20"}) {
    const ImportedCost other = cost(form);
    EXPECT_EQ(other.forwardFlops, batched.forwardFlops) << form;
    EXPECT_EQ(other.model.parameters, batched.model.parameters) << form;
    EXPECT_EQ(names(other), names(batched)) << form;
  }
}

TEST_F(CostFromIR, EveryModelIsCountedWhole) {
  const std::pair<const char *, std::vector<std::string>> models[] = {
      {"bert_dyn18", {"batch=2", "seq=10"}},
      {"deepseek3_batched_dyn18", {"batch=2", "seq=10"}},
      {"gpt2_legacy17", {"batch=2", "seq=10"}},
      {"gptoss_batched_dyn18", {"batch=2", "seq=10"}},
      {"llama_dyn18", {"batch=2", "seq=10"}},
      {"llama_tied_static_dyn20", {}},
      {"nanomoe_einsum_dyn18", {"batch=2", "seq=10"}},
      {"qwen3moe_batched_dyn23", {"batch=2", "seq=10"}},
      {"vit_dyn18", {"batch=2"}}};
  for (const auto &[name, bind] : models) {
    const ImportedCost c = cost(name, bind);
    // Nothing that the ops count falls between the parts, and each parameter is in one.
    EXPECT_DOUBLE_EQ(forwardFlops(c), static_cast<double>(c.forwardFlops)) << name;
    EXPECT_EQ(c.model.parameters * 4, static_cast<double>(c.parameterBytes)) << name;
    EXPECT_GE(c.model.parts.size(), 4u) << name;
    EXPECT_EQ(c.model.parts.back().name, "head") << name;
    // What is kept is a part of what the plan takes, and attributed to parts whole.
    EXPECT_GT(c.keptBytes, c.arenaBytes / 3) << name;
    EXPECT_LE(c.keptBytes, c.arenaBytes) << name;
    double kept = 0;
    for (const cost::Part &part : c.model.parts)
      kept += part.kept[0].residual + part.kept[0].split + part.kept[0].routed;
    EXPECT_NEAR(kept * 4 * static_cast<double>(c.tokens), static_cast<double>(c.keptBytes), 1)
        << name;
  }
}

TEST_F(CostFromIR, TwiceTheBatchKeepsTwice) {
  const ImportedCost one = cost("llama_dyn18", {"batch=8", "seq=10"});
  const ImportedCost two = cost("llama_dyn18", {"batch=16", "seq=10"});
  EXPECT_EQ(two.tokens, 2 * one.tokens);
  EXPECT_EQ(two.model.flopsPerToken, one.model.flopsPerToken);
  EXPECT_NEAR(static_cast<double>(two.keptBytes), 2.0 * static_cast<double>(one.keptBytes),
              0.02 * static_cast<double>(two.keptBytes));
  // bf16 stores products' results in half the bytes: fewer kept, as many elements or more.
  const ImportedCost narrow = cost("llama_dyn18", {"batch=8", "seq=10"}, "bf16");
  EXPECT_LT(narrow.keptBytes, one.keptBytes);
  EXPECT_EQ(narrow.model.flopsPerToken, one.model.flopsPerToken);
}

} // namespace
