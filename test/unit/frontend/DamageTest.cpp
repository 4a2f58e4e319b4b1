//===- DamageTest.cpp - Damaged files give an error, never a crash -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestModels.h"
#include "moire/Frontend/Parameters.h"
#include <gtest/gtest.h>
#include <random>

using namespace moire;
using namespace moire::test;

/// Imports mutants of a model; what still imports must also have a table.
static void importMutants(const std::string &original, unsigned count, unsigned seed) {
  Folder folder;
  std::mt19937 random(seed);
  auto below = [&](size_t n) { return random() % n; };
  unsigned imported = 0, refused = 0;
  std::unique_ptr<mlir::MLIRContext> context;
  for (unsigned i = 0; i < count; ++i) {
    if (i % 256 == 0) // uniqued garbage is not kept for ever
      context = std::make_unique<mlir::MLIRContext>(mlir::MLIRContext::Threading::DISABLED);
    std::string bytes = original;
    switch (below(4)) {
    case 0: // cut
      bytes.resize(below(bytes.size()));
      break;
    case 1: // a byte lost or doubled: all lengths around it are wrong
      if (size_t at = below(bytes.size()); below(2))
        bytes.erase(at, 1);
      else
        bytes.insert(at, 1, bytes[at]);
      break;
    default:
      for (size_t flips = 1 + below(4); flips > 0; --flips)
        bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
    }
    // A new file each time: writing over one makes the file system flush it.
    std::string path = folder.write(std::to_string(i) + ".onnx", bytes);
    Import import(*context, path);
    llvm::sys::fs::remove(path);
    if (import.module) {
      ++imported;
      frontend::buildParameterTable(*import.module);
    } else {
      ++refused;
      EXPECT_EQ(import.count, 1u) << import.errors;
    }
  }
  EXPECT_GT(imported, 0u);
  EXPECT_GT(refused, count / 4);
}

TEST(Damage, MutantsOfASmallModel) {
  importMutants(makeSmallModel().SerializeAsString(), 4000, 1);
}

TEST(Damage, MutantsWithMetadata) {
  ::onnx::ModelProto model = makeSmallModel();
  model.set_ir_version(10);
  auto &graph = *model.mutable_graph();
  auto add = [](auto &holder, const char *key, const char *value) {
    auto &entry = *holder.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  };
  add(graph, "pkg.torch.export.ExportedProgram.graph_signature",
      "\n# inputs\np_fc_w: PARAMETER target='fc.w'\np_fc_b: PARAMETER target='fc.b'\n");
  auto &value = *graph.add_value_info();
  value.set_name("w");
  add(value, "pkg.onnxscript.optimizer.folded_from", "['fc.w', 'transpose_3', 'select_1']");
  auto &node = *graph.mutable_node(0);
  add(node, "pkg.torch.onnx.name_scopes", "['', 'fc', 'linear']");
  add(node, "pkg.torch.onnx.class_hierarchy", "['a.Net', 'b.Linear', 'aten.linear']");
  add(node, "pkg.torch.onnx.fx_node",
      "%linear : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = "
      "(%x, %p_fc_w, %p_fc_b), kwargs = {})");
  add(node, "pkg.torch.onnx.stack_trace", "File \"a.py\", line 3, in f\n  return x");
  importMutants(model.SerializeAsString(), 2000, 2);
}
