//===- WeightsTest.cpp - Parameters from files and fresh ones -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/weights.h"
#include "FileUtil.h"
#include "TestUtil.h"
#include "moire/rt/checksum.h"
#include "moire/rt/pieces.h"
#include "train/convert.h"
#include "train/onnx_file.h"
#include "train/safetensors.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
const int64_t k23[] = {2, 3}, k232[] = {2, 3, 2}, k142[] = {1, 4, 2};

/// One parameter of each transform, stored in model.bin from byte 4 on.
struct Model {
  TempFolder dir;
  std::string path = dir / "model.onnx";
  Floats stored = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
  Source same[1] = {{"a", "model.bin", 4, 24, DType::f32, Transform::same, 0}};
  Source turned[1] = {{"b", "model.bin", 4, 24, DType::f32, Transform::transposeLast2, 0}};
  Source slices[2] = {{"c1", "model.bin", 28, 24, DType::f32, Transform::slice, 1},
                      {"c0", "model.bin", 52, 24, DType::f32, Transform::sliceTranspose, 0}};
  Source woven[1] = {{"d", "model.bin", 4, 32, DType::f32, Transform::interleaveHalvesDim1, 0}};
  ParameterInfo params[4] = {
      {"a", "m.layer.a", 2, k23, true, Init::normal, 0.5f, 0, 1, same},
      {"b", "m.layer.b", 2, k23, true, Init::ones, 0, 16, 1, turned},
      {"c", "m.c", 3, k232, true, Init::zeros, 0, 32, 2, slices},
      {"d", "m.d", 3, k142, false, Init::zeros, 0, 48, 1, woven}};
  FileInfo files[1] = {};
  Program p = {};

  Model() {
    write(dir / "model.bin", "head" + bytes(stored));
    FileChecksum sum = fileChecksum((dir / "model.bin").c_str());
    files[0] = {"model.bin", sum.bytes, sum.sum};
    p.modelPath = path.c_str();
    p.numFiles = 1;
    p.files = files;
    p.paramElements = 64;
    p.gradElements = 48;
    p.numParameters = 4;
    p.parameters = params;
  }
  Floats value(const Context &ctx, int i) {
    float *v = ctx.param(params[i].offset);
    return Floats(v, v + shardElements(params[i]));
  }
  std::string error(const std::string &weights = "") {
    Context ctx(p, 1);
    try {
      loadWeights(ctx, weights, 0, "/x/trainer");
    } catch (const InputError &e) {
      return e.what();
    }
    return "";
  }
};
} // namespace

TEST(Weights, EveryTransformFromTheModelsFile) {
  Model m;
  Context ctx(m.p, 2);
  loadWeights(ctx, "", 0, "/x/trainer");
  EXPECT_EQ(m.value(ctx, 0), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(m.value(ctx, 1), (Floats{0, 2, 4, 1, 3, 5}));
  EXPECT_EQ(m.value(ctx, 2), (Floats{12, 15, 13, 16, 14, 17, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(m.value(ctx, 3), (Floats{0, 1, 4, 5, 2, 3, 6, 7}));
}

TEST(Weights, AChangedOrShortFileIsRefused) {
  Model m;
  std::string whole = read(m.dir / "model.bin");
  whole[20] ^= 1;
  write(m.dir / "model.bin", whole);
  EXPECT_NE(m.error().find("has changed since the program was compiled"), std::string::npos);
  m.p.numFiles = 0;
  write(m.dir / "model.bin", whole.substr(0, 30));
  EXPECT_NE(m.error().find("has 30 bytes"), std::string::npos);
  std::filesystem::remove(m.dir / "model.bin");
  EXPECT_NE(m.error().find("cannot read"), std::string::npos);
}

TEST(Weights, FreshOnesDependOnSeedAndNameAlone) {
  Model m;
  m.p.init = true;
  Context a(m.p, 1), b(m.p, 2), c(m.p, 1);
  loadWeights(a, "", 1, "/x/trainer");
  loadWeights(b, "", 1, "/x/trainer");
  loadWeights(c, "", 2, "/x/trainer");
  EXPECT_EQ(m.value(a, 0), m.value(b, 0));
  EXPECT_NE(m.value(a, 0), m.value(c, 0));
  EXPECT_EQ(m.value(a, 1), Floats(6, 1.0f));
  EXPECT_EQ(m.value(a, 2), Floats(12, 0.0f));
  EXPECT_EQ(m.value(a, 3), (Floats{0, 1, 4, 5, 2, 3, 6, 7})); // the buffer's own
}

TEST(Weights, NormalValuesHaveMeanAndDeviation) {
  const int64_t shape[] = {200, 500};
  ParameterInfo param = {"w", "w", 2, shape, true, Init::normal, 0.02f, 0, 0, nullptr};
  Program p = {};
  p.modelPath = "/none/model.onnx";
  p.init = true;
  p.paramElements = p.gradElements = 100000;
  p.numParameters = 1;
  p.parameters = &param;
  Context ctx(p, 2);
  loadWeights(ctx, "", 3, "/x/trainer");
  double mean = 0, square = 0;
  for (int64_t i = 0; i < 100000; ++i) {
    mean += ctx.param(0)[i] / 1e5;
    square += double(ctx.param(0)[i]) * ctx.param(0)[i] / 1e5;
  }
  EXPECT_NEAR(mean, 0, 4 * 0.02 / std::sqrt(1e5));
  EXPECT_NEAR(std::sqrt(square), 0.02, 0.02 * 0.01);
}

TEST(Weights, SafetensorsWithAndWithoutThePrefixAndInShards) {
  Model m;
  Floats a = random(6, 1), b = random(6, 2), c = random(12, 3);
  for (const std::string prefix : {"m.", "", "other.m."}) {
    writeSafetensors(m.dir / "w.safetensors", {{prefix + "layer.a", {2, 3}, a.data()},
                                               {prefix + "layer.b", {2, 3}, b.data()},
                                               {prefix + "c", {2, 3, 2}, c.data()}});
    Context ctx(m.p, 1);
    loadWeights(ctx, m.dir / "w.safetensors", 0, "/x/trainer");
    EXPECT_EQ(m.value(ctx, 0), a);
    EXPECT_EQ(m.value(ctx, 1), b); // logical layout, not transposed
    EXPECT_EQ(m.value(ctx, 2), c);
    EXPECT_EQ(m.value(ctx, 3), (Floats{0, 1, 4, 5, 2, 3, 6, 7}));
  }
  std::filesystem::create_directory(m.dir / "shards");
  writeSafetensors(m.dir / "shards/1.safetensors", {{"layer.a", {2, 3}, a.data()}});
  writeSafetensors(m.dir / "shards/2.safetensors", {{"layer.b", {2, 3}, b.data()}, {"c", {2, 3, 2}, c.data()}});
  write(m.dir / "shards/model.safetensors.index.json",
        R"({"weight_map": {"layer.a": "1.safetensors", "layer.b": "2.safetensors", "c": "2.safetensors"}})");
  Context ctx(m.p, 1);
  loadWeights(ctx, m.dir / "shards", 0, "/x/trainer");
  EXPECT_EQ(m.value(ctx, 2), c);
}

TEST(Weights, ATiedTensorUnderEitherNameAndWhatNoParameterTakes) {
  Model m;
  const SavedName saved[] = {{"a", "m.layer.a"}, {"a", "m.head.a"}};
  m.p.saved = saved;
  m.p.numSaved = 2;
  Floats a = random(6, 1), b = random(6, 2), c = random(12, 3);
  const std::string path = m.dir / "w.safetensors";
  auto load = [&](std::vector<NamedTensor> tensors) {
    tensors.insert(tensors.end(), {{"layer.b", {2, 3}, b.data()}, {"c", {2, 3, 2}, c.data()}});
    writeSafetensors(path, tensors);
    Context ctx(m.p, 1);
    testing::internal::CaptureStderr();
    loadWeights(ctx, path, 0, "/x/trainer");
    EXPECT_EQ(m.value(ctx, 0), a);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(load({{"head.a", {2, 3}, a.data()}}), "");
  EXPECT_EQ(load({{"head.a", {2, 3}, a.data()}, {"layer.a", {2, 3}, a.data()}}), "");
  EXPECT_EQ(load({{"layer.a", {2, 3}, a.data()}, {"x.inv_freq", {6}, a.data()}}),
            "warning: the model has no parameter for 1 of the 4 tensors of '" + path +
                "': 'x.inv_freq'\n");
  writeSafetensors(path, {{"head.a", {2, 3}, a.data()}, {"layer.a", {2, 3}, b.data()}});
  EXPECT_NE(m.error(path).find("tensors 'layer.a' and 'head.a' of '" + path + "' differ"),
            std::string::npos);
}

TEST(Weights, WrongSafetensorsAreRefused) {
  Model m;
  Floats a(6);
  writeSafetensors(m.dir / "w.safetensors", {{"layer.a", {2, 3}, a.data()}});
  EXPECT_NE(m.error(m.dir / "w.safetensors").find("has no tensor 'm.layer.b'"), std::string::npos);
  writeSafetensors(m.dir / "w.safetensors", {{"layer.a", {3, 2}, a.data()}});
  EXPECT_NE(m.error(m.dir / "w.safetensors").find("has shape [3, 2], parameter 'm.layer.a' has [2, 3]"),
            std::string::npos);
  std::string whole = read(m.dir / "w.safetensors");
  write(m.dir / "w.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_NE(m.error(m.dir / "w.safetensors").find("not a valid safetensors file"), std::string::npos);
  write(m.dir / "w.safetensors", "12345");
  EXPECT_NE(m.error(m.dir / "w.safetensors").find("it has 5 bytes"), std::string::npos);
  write(m.dir / "w.txt", "12345");
  EXPECT_NE(m.error(m.dir / "w.txt").find("neither .onnx nor .safetensors"), std::string::npos);
}

namespace {
/// A ModelProto with one initializer per name; external ones are given as such.
std::string onnxModel(const std::vector<std::string> &tensors) {
  std::string graph;
  for (const std::string &t : tensors)
    graph += field(5, t);
  return field(1, uint64_t(8)) + field(7, graph);
}
std::string external(const std::string &name, const std::vector<int64_t> &dims,
                     const std::string &file, int64_t offset) {
  std::string s;
  for (int64_t d : dims)
    s += field(1, uint64_t(d));
  return s + field(2, uint64_t(1)) + field(8, name) +
         field(13, field(1, "location") + field(2, file)) +
         field(13, field(1, "offset") + field(2, std::to_string(offset))) +
         field(14, uint64_t(1));
}
} // namespace

TEST(Weights, AnOnnxFileByInitializerNameWithExternalData) {
  Model m;
  Floats ext = random(12, 5), a = random(6, 6), d = random(8, 7);
  write(m.dir / "w.data", "xxxx" + bytes(ext));
  write(m.dir / "w.onnx", onnxModel({tensorProto("a", 1, {2, 3}, bytes(a)),
                                     tensorProto("b", 1, {3, 2}, bytes(a)),
                                     external("c0", {2, 3}, "w.data", 4),
                                     external("c1", {3, 2}, "w.data", 28),
                                     tensorProto("d", 1, {4, 2}, bytes(d))}));
  Context ctx(m.p, 1);
  loadWeights(ctx, m.dir / "w.onnx", 0, "/x/trainer");
  EXPECT_EQ(m.value(ctx, 0), a);
  EXPECT_EQ(m.value(ctx, 2)[1], ext[3]);
  EXPECT_EQ(m.value(ctx, 2)[6], ext[6]);

  write(m.dir / "w.onnx", onnxModel({tensorProto("a", 1, {2, 3}, bytes(a))}));
  EXPECT_NE(m.error(m.dir / "w.onnx").find("has no initializer 'b'"), std::string::npos);
  write(m.dir / "w.onnx", onnxModel({external("a", {2, 3}, "../w.data", 0)}));
  EXPECT_NE(m.error(m.dir / "w.onnx").find("outside the model's folder"), std::string::npos);
  write(m.dir / "w.onnx", onnxModel({external("a", {2, 3}, "w.data", 40)}));
  EXPECT_NE(m.error(m.dir / "w.onnx").find("needs bytes 40 to 64"), std::string::npos);
  write(m.dir / "w.onnx", onnxModel({tensorProto("a", 1, {2, 3}, bytes(a))}).substr(0, 30));
  EXPECT_NE(m.error(m.dir / "w.onnx").find("not a valid protobuf file"), std::string::npos);
}

TEST(Convert, HalfBfloatAndDouble) {
  const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x8400, 0x7c00, 0x3555};
  float f[6];
  toFloat(DType::f16, reinterpret_cast<const unsigned char *>(half), 6, f);
  EXPECT_EQ(f[0], 1.0f);
  EXPECT_EQ(f[1], -2.0f);
  EXPECT_EQ(f[2], 0x1p-24f);
  EXPECT_EQ(f[3], -0x1p-14f);
  EXPECT_EQ(f[4], INFINITY);
  EXPECT_NEAR(f[5], 1 / 3.0, 1e-3);
  const uint16_t bf[] = {0x3f80, 0xc040};
  toFloat(DType::bf16, reinterpret_cast<const unsigned char *>(bf), 2, f);
  EXPECT_EQ(f[1], -3.0f);
  const double d[] = {0.1};
  toFloat(DType::f64, reinterpret_cast<const unsigned char *>(d), 1, f);
  EXPECT_EQ(f[0], 0.1f);
}

TEST(Paths, StaysInside) {
  EXPECT_TRUE(staysInside("a/b.bin"));
  EXPECT_TRUE(staysInside("a/../b.bin"));
  EXPECT_FALSE(staysInside("../b.bin"));
  EXPECT_FALSE(staysInside("a/../../b"));
  EXPECT_FALSE(staysInside("/etc/passwd"));
  EXPECT_FALSE(staysInside(""));
}
