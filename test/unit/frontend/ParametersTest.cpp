//===- ParametersTest.cpp - Rules of the parameter table -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestModels.h"
#include "moire/Frontend/Parameters.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <gtest/gtest.h>

using namespace moire;
using namespace moire::test;
using frontend::Parameter;
using frontend::ParameterTable;
using pipe::Transform;

namespace {

class ParametersTest : public testing::Test {
protected:
  const ParameterTable &build(const ::onnx::ModelProto &model) {
    import = std::make_unique<Import>(context, folder.write("m.onnx", model.SerializeAsString()));
    EXPECT_TRUE(import->module) << import->errors;
    table = frontend::buildParameterTable(*import->module);
    return table;
  }
  const Parameter *find(llvm::StringRef symbol) {
    for (const Parameter &parameter : table.parameters)
      if (parameter.symbol == symbol)
        return &parameter;
    return nullptr;
  }
  /// What operand `i` of the node of that name looks up to.
  const frontend::ParameterUse *lookUp(llvm::StringRef node, unsigned i) {
    const frontend::ParameterUse *result = nullptr;
    import->module->walk([&](moire::onnx::NodeOp op) {
      if (auto loc = mlir::dyn_cast<mlir::NameLoc>(op.getLoc()); loc && loc.getName() == node)
        result = table.lookup(op->getOpOperand(i));
    });
    return result;
  }

  Folder folder;
  mlir::MLIRContext context;
  std::unique_ptr<Import> import;
  ParameterTable table;
};

} // namespace

TEST_F(ParametersTest, LegacyTiedHeadIsOneParameter) {
  ::onnx::ModelProto model = makeModel();
  auto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "ids", {-1});
  addValue(*graph.add_output(), "y", {-1, 3});
  addFloats(*graph.add_initializer(), "m.wte.weight", {3, 2}, {1, 2, 3, 4, 5, 6});
  addFloats(*graph.add_initializer(), "onnx::MatMul_7", {2, 3}, {1, 3, 5, 2, 4, 6});
  addNode(graph, "Gather", {"m.wte.weight", "ids"}, "x", "/m/wte/Gather");
  addNode(graph, "MatMul", {"x", "onnx::MatMul_7"}, "y", "/m/head/MatMul");
  build(model);
  ASSERT_EQ(table.parameters.size(), 1u);
  const Parameter &parameter = table.parameters[0];
  EXPECT_EQ(parameter.torchName, "m.wte.weight");
  ASSERT_EQ(parameter.sources.size(), 2u);
  EXPECT_EQ(parameter.sources[1].transform, Transform::transpose_last2);
  EXPECT_EQ(lookUp("/m/wte/Gather", 0)->transform, Transform::same);
  EXPECT_EQ(lookUp("/m/head/MatMul", 1)->transform, Transform::transpose_last2);
}

TEST_F(ParametersTest, LegacyIdentitySplitsConstantsAndTiesOthers) {
  ::onnx::ModelProto model = makeModel();
  auto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "x", {-1, 2});
  addValue(*graph.add_output(), "y", {-1, 2});
  addFloats(*graph.add_initializer(), "n1.weight", {2}, {1, 1});
  addFloats(*graph.add_initializer(), "w1", {2, 2}, {1, 2, 3, 4});
  addNode(graph, "Identity", {"n1.weight"}, "n2.weight", "Identity_1");
  addNode(graph, "Identity", {"w1"}, "w2", "Identity_2");
  addNode(graph, "Mul", {"x", "n1.weight"}, "a", "/n1/Mul");
  addNode(graph, "Gemm", {"a", "w1"}, "b", "/l1/Gemm");
  addNode(graph, "Mul", {"b", "n2.weight"}, "c", "/n2/Mul");
  addNode(graph, "Gemm", {"c", "w2"}, "y", "/l2/Gemm");
  build(model);
  ASSERT_EQ(table.parameters.size(), 3u);
  ASSERT_TRUE(find("n1.weight") && find("n2.weight") && find("w1"));
  EXPECT_EQ(find("n1.weight")->sources[0].offset, find("n2.weight")->sources[0].offset);
  EXPECT_EQ(lookUp("/l1/Gemm", 1)->parameter, lookUp("/l2/Gemm", 1)->parameter);
  EXPECT_NE(lookUp("/n1/Mul", 1)->parameter, lookUp("/n2/Mul", 1)->parameter);
}

TEST_F(ParametersTest, WhatOnlyLooksLikeAWeight) {
  ::onnx::ModelProto model = makeModel();
  auto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "x", {-1, 2});
  addValue(*graph.add_output(), "y", {-1, 2});
  const float low = -3.4028235e38f;
  addFloats(*graph.add_initializer(), "bn.weight", {2}, {1, 2});
  addFloats(*graph.add_initializer(), "bn.bias", {2}, {1, 2});
  addFloats(*graph.add_initializer(), "stat_a", {2}, {1, 2});
  addFloats(*graph.add_initializer(), "stat_b", {2}, {1, 2});
  addFloats(*graph.add_initializer(), "eps", {}, {1e-5f});
  addFloats(*graph.add_initializer(), "attn_bias", {2, 2}, {0, low, 0, 0});
  addFloats(*graph.add_initializer(), "theta", {1, 2}, {1, 0.1f});
  addFloats(*graph.add_initializer(), "choice", {2}, {1, 2});
  addNode(graph, "BatchNormalization", {"x", "bn.weight", "bn.bias", "stat_a", "stat_b"}, "a", "bn");
  addNode(graph, "Add", {"a", "eps"}, "b", "add");
  addNode(graph, "Add", {"b", "attn_bias"}, "c", "mask");
  addNode(graph, "Mul", {"x", "theta"}, "angle", "angle");
  addNode(graph, "Cos", {"angle"}, "cos", "cos");
  addNode(graph, "Mul", {"c", "cos"}, "d", "rope");
  addNode(graph, "Add", {"d", "choice"}, "scored", "scores");
  addNode(graph, "ArgMax", {"scored"}, "best", "best");
  addNode(graph, "Gather", {"d", "best"}, "y", "pick");
  build(model);
  auto isTrained = [&](const char *name) { return find(name) && !find(name)->frozen; };
  EXPECT_TRUE(isTrained("bn.weight") && isTrained("bn.bias"));
  for (const char *name : {"stat_a", "stat_b", "eps", "attn_bias", "theta", "choice"})
    EXPECT_FALSE(isTrained(name)) << name;
  EXPECT_EQ(find("choice")->reason, "no gradient: nothing differentiable leads to an output");
  EXPECT_EQ(lookUp("mask", 1), nullptr) << "a constant is not read as a parameter";
}

TEST_F(ParametersTest, PositionTablesAreFrozenAndPaddedEmbeddingsAreNot) {
  ::onnx::ModelProto model = makeModel();
  auto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "ids", {-1});
  addValue(*graph.add_output(), "y", {-1, 4});
  std::vector<float> table, embedding;
  for (int position = 0; position < 5; ++position)
    for (float frequency : {1.f, 0.01f}) {
      table.push_back(std::sin(position * frequency));
      table.push_back(std::cos(position * frequency));
    }
  for (int i = 0; i < 20; ++i) // row 0 is the padding's
    embedding.push_back(i < 4 ? 0.f : 0.02f * static_cast<float>(i * 7 % 5 - 2));
  addFloats(*graph.add_initializer(), "pe", {5, 4}, table);
  addFloats(*graph.add_initializer(), "emb", {5, 4}, embedding);
  addNode(graph, "Gather", {"pe", "ids"}, "p", "positions");
  addNode(graph, "Gather", {"emb", "ids"}, "e", "tokens");
  addNode(graph, "Add", {"p", "e"}, "y", "sum");
  build(model);
  EXPECT_TRUE(find("pe")->frozen);
  EXPECT_FALSE(find("emb")->frozen) << find("emb")->reason;
}

TEST_F(ParametersTest, MergedTensorsAreSplitByTheirCalls) {
  ::onnx::ModelProto model = makeModel();
  model.set_ir_version(10);
  auto &graph = *model.mutable_graph();
  auto add = [](auto &holder, const char *key, const std::string &value) {
    auto &entry = *holder.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  };
  add(graph, "pkg.torch.export.ExportedProgram.graph_signature",
      "# inputs\np_a_weight: PARAMETER target='a.weight'\np_a_bias: PARAMETER target='a.bias'\n"
      "p_b_weight: PARAMETER target='b.weight'\np_b_bias: PARAMETER target='b.bias'\n"
      "b_mean: BUFFER target='b.running_mean'\n# outputs\n");
  addValue(*graph.add_input(), "x", {-1, 2});
  addValue(*graph.add_output(), "z", {-1, 2});
  for (auto [name, value] : {std::pair{"a.weight", 1.f}, {"a.bias", 0.f}}) {
    addFloats(*graph.add_initializer(), name, {2}, {value, value});
    auto &info = *graph.add_value_info();
    info.set_name(name);
    add(info, "pkg.torch.export.graph_signature.InputSpec.kind", "PARAMETER");
  }
  auto norm = [&](const char *in, const char *out, const char *name, const std::string &args) {
    add(addNode(graph, "LayerNormalization", {in, "a.weight", "a.bias"}, out, name),
        "pkg.torch.onnx.fx_node",
        "%n : [num_users=1] = call_function[target=torch.ops.aten.layer_norm.default](args = (" +
            args + ", 1e-05, False), kwargs = {})");
  };
  norm("x", "y", "norm_a", "%x, [2], %p_a_weight, %p_a_bias");
  norm("y", "z", "norm_b", "%y, [2], %p_b_weight, %p_b_bias");
  build(model);
  ASSERT_EQ(table.parameters.size(), 4u);
  auto nameOf = [&](const char *node, unsigned i) {
    return table.parameters[lookUp(node, i)->parameter].torchName;
  };
  EXPECT_EQ(nameOf("norm_a", 1), "a.weight");
  EXPECT_EQ(nameOf("norm_a", 2), "a.bias");
  EXPECT_EQ(nameOf("norm_b", 1), "b.weight");
  EXPECT_EQ(nameOf("norm_b", 2), "b.bias");
  EXPECT_EQ(find("b.bias")->sources[0].initializer, "a.bias");
}

TEST_F(ParametersTest, SelectionsAreSlicesInTheOrderOfTheirNumbers) {
  ::onnx::ModelProto model = makeModel();
  model.set_ir_version(10);
  auto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "x", {-1, 2});
  addValue(*graph.add_output(), "b", {-1, 2});
  auto &entry = *graph.add_metadata_props();
  entry.set_key("pkg.torch.export.ExportedProgram.graph_signature");
  entry.set_value("# inputs\np_w: PARAMETER target='experts.w'\n");
  for (const char *name : {"select_10", "select_2"}) {
    addFloats(*graph.add_initializer(), name, {2, 2}, {1, 2, 3, 4});
    auto &info = *graph.add_value_info();
    info.set_name(name);
    auto &from = *info.add_metadata_props();
    from.set_key("pkg.onnxscript.optimizer.folded_from");
    from.set_value("['experts.w', 'val_1']");
  }
  addNode(graph, "MatMul", {"x", "select_10"}, "a", "second");
  addNode(graph, "MatMul", {"a", "select_2"}, "b", "first");
  build(model);
  ASSERT_EQ(table.parameters.size(), 1u);
  EXPECT_EQ(table.parameters[0].symbol, "experts.w");
  EXPECT_EQ(table.parameters[0].shape, (llvm::SmallVector<int64_t>{2, 2, 2}));
  EXPECT_EQ(lookUp("first", 1)->index, 0);
  EXPECT_EQ(lookUp("second", 1)->index, 1);
  EXPECT_EQ(lookUp("second", 1)->transform, Transform::slice);
}

TEST_F(ParametersTest, Freeze) {
  build(makeSmallModel());
  std::string error;
  EXPECT_EQ(table.freeze("^b$", error), 1);
  EXPECT_TRUE(find("b")->frozen);
  EXPECT_EQ(table.freeze("^b$", error), 0);
  EXPECT_EQ(table.freeze("(", error), -1);
  EXPECT_FALSE(error.empty());
}

TEST_F(ParametersTest, SharedPrefix) {
  auto named = [](const char *name) {
    Parameter parameter;
    parameter.torchName = name;
    return parameter;
  };
  table.parameters = {named("m.a.w"), named("m.b")};
  EXPECT_EQ(table.getSharedPrefix(), "m.");
  table.parameters.push_back(named("n.b"));
  EXPECT_EQ(table.getSharedPrefix(), "");
  table.parameters = {named("w"), named("b")};
  EXPECT_EQ(table.getSharedPrefix(), "");
}
