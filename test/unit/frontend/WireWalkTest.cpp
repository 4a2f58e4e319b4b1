//===- WireWalkTest.cpp - Weights' places on the wire --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "lib/Frontend/WireWalk.h"
#include "TestModels.h"
#include <gtest/gtest.h>

using namespace moire::frontend;
using namespace moire::test;

static llvm::ArrayRef<uint8_t> bytesOf(const std::string &text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

/// The floats that a payload spans.
static std::vector<float> floatsAt(const std::string &file, Payload payload) {
  std::vector<float> values(payload.length / sizeof(float));
  std::memcpy(values.data(), file.data() + payload.offset, payload.length);
  return values;
}

TEST(WireWalk, FindsRawData) {
  std::string file = makeSmallModel().SerializeAsString(), error;
  SlimModel slim;
  ASSERT_TRUE(slimModel(bytesOf(file), slim, error)) << error;
  ::onnx::ModelProto parsed;
  ASSERT_TRUE(parsed.ParseFromString(slim.bytes));
  ASSERT_EQ(slim.payloads.size(), 2u);
  const auto &w = parsed.graph().initializer(0);
  EXPECT_EQ(w.raw_data().size(), 8u);
  EXPECT_EQ(floatsAt(file, slim.payloads[getPayloadIndex(w.raw_data())]),
            (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(parsed.graph().initializer(2).int32_data(0), 1);
  EXPECT_EQ(parsed.graph().node_size(), 3);
  EXPECT_EQ(parsed.functions_size(), 1);
}

TEST(WireWalk, PackedFloatsArePayloads) {
  ::onnx::ModelProto model = makeModel();
  auto &tensor = *model.mutable_graph()->add_initializer();
  tensor.set_data_type(::onnx::TensorProto::FLOAT);
  tensor.add_dims(3);
  for (float value : {1.5f, 2.5f, 3.5f})
    tensor.add_float_data(value);
  std::string file = model.SerializeAsString(), error;
  SlimModel slim;
  ASSERT_TRUE(slimModel(bytesOf(file), slim, error)) << error;
  ASSERT_EQ(slim.payloads.size(), 1u);
  EXPECT_EQ(floatsAt(file, slim.payloads[0]), (std::vector<float>{1.5, 2.5, 3.5}));
}

TEST(WireWalk, FloatsUnderAnotherTypeStay) {
  // float_data of a tensor that claims to be int64: not raw bytes of it.
  ::onnx::ModelProto model = makeModel();
  auto &tensor = *model.mutable_graph()->add_initializer();
  tensor.set_data_type(::onnx::TensorProto::INT64);
  tensor.add_float_data(1);
  std::string file = model.SerializeAsString(), error;
  SlimModel slim;
  ASSERT_TRUE(slimModel(bytesOf(file), slim, error)) << error;
  EXPECT_TRUE(slim.payloads.empty());
}

TEST(WireWalk, KeepsTheInnermostFrame) {
  ::onnx::ModelProto model = makeModel();
  auto &entry = *model.mutable_graph()->add_node()->add_metadata_props();
  entry.set_key("pkg.torch.onnx.stack_trace");
  entry.set_value("File \"a.py\", line 1, in f\n  g()\nFile \"b.py\", line 2, in g\n  x + 1");
  std::string file = model.SerializeAsString(), error;
  SlimModel slim;
  ASSERT_TRUE(slimModel(bytesOf(file), slim, error)) << error;
  ::onnx::ModelProto parsed;
  ASSERT_TRUE(parsed.ParseFromString(slim.bytes));
  EXPECT_EQ(parsed.graph().node(0).metadata_props(0).value(), "File \"b.py\", line 2, in g\n  x + 1");
}

TEST(WireWalk, TellsWhatIsWrong) {
  std::string file = makeSmallModel().SerializeAsString(), error;
  auto walk = [&](const std::string &bytes) {
    SlimModel slim;
    error.clear();
    EXPECT_FALSE(slimModel(bytesOf(bytes), slim, error));
    return llvm::StringRef(error);
  };
  EXPECT_EQ(walk(""), "is empty; an ONNX model was expected");
  EXPECT_TRUE(walk("PK\x03\x04 a zip file").starts_with("is not an ONNX model"));
  EXPECT_TRUE(walk(std::string(64, '\0')).starts_with("is not an ONNX model"));
  EXPECT_TRUE(walk(std::string("\x08\x08", 2)).starts_with("has no graph"));
  EXPECT_TRUE(walk(file.substr(0, file.size() / 2)).starts_with("is cut off or damaged"));
}
