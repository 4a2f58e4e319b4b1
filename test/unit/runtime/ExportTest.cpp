//===- ExportTest.cpp - Trained weights back in users' files --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "FileUtil.h"
#include "RankProgram.h"
#include "StageProgram.h"
#include "TestUtil.h"
#include "moire/rt/bf16.h"
#include "moire/rt/checksum.h"
#include "moire/rt/pipeline.h"
#include "train/convert.h"
#include "train/export_onnx.h"
#include "train/safetensors.h"
#include "train/shards.h"
#include "train/weights.h"

#include <cmath>
#include <map>

using namespace moire::rt;
using namespace moire::rt::test;

//===----------------------------------------------------------------------===//
// Rounding
//===----------------------------------------------------------------------===//

static uint16_t narrow(DType type, float value) {
  uint16_t bits = 0x1234; // no number of the tests
  fromFloat(type, &value, 1, reinterpret_cast<unsigned char *>(&bits));
  return bits;
}
static float widen(DType type, uint16_t bits) {
  float value;
  toFloat(type, reinterpret_cast<const unsigned char *>(&bits), 1, &value);
  return value;
}

TEST(Export, RoundsToTheNearestTiesToEven) {
  for (DType type : {DType::f16, DType::bf16}) {
    const uint32_t inf = type == DType::f16 ? 0x7c00 : 0x7f80;
    for (uint32_t h = 0; h + 1 < inf; ++h) {
      const float low = widen(type, uint16_t(h)), high = widen(type, uint16_t(h + 1));
      const float middle = low + (high - low) / 2; // exact: one bit more
      ASSERT_EQ(narrow(type, low), h);
      ASSERT_EQ(narrow(type, -low), h | 0x8000);
      ASSERT_EQ(narrow(type, middle), h % 2 ? h + 1 : h) << h;
      ASSERT_EQ(narrow(type, std::nextafter(middle, low)), h) << h;
      ASSERT_EQ(narrow(type, std::nextafter(middle, high)), h + 1) << h;
    }
    EXPECT_EQ(narrow(type, INFINITY), inf);
    EXPECT_EQ(narrow(type, -INFINITY), inf | 0x8000);
    EXPECT_TRUE(std::isnan(widen(type, narrow(type, NAN))));
  }
  EXPECT_EQ(narrow(DType::f16, 65519.0f), 0x7bff);
  EXPECT_EQ(narrow(DType::f16, 65520.0f), 0x7c00);
  EXPECT_EQ(narrow(DType::f16, 3e38f), 0x7c00);
}

TEST(Export, WhatReadsAsTheValueKeepsItsBytes) {
  const double third = 1.0 / 3;
  double stored[2] = {third, third};
  const float values[2] = {float(third), 0.5f};
  fromFloat(DType::f64, values, 2, reinterpret_cast<unsigned char *>(stored));
  EXPECT_EQ(stored[0], third);
  EXPECT_EQ(stored[1], 0.5);
}

//===----------------------------------------------------------------------===//
// ONNX
//===----------------------------------------------------------------------===//

namespace {
const int64_t k23[] = {2, 3}, k232[] = {2, 3, 2}, k142[] = {1, 4, 2}, k6[] = {6};

std::string external(const std::string &name, int type, const std::vector<int64_t> &dims,
                     const std::string &file, int64_t offset) {
  std::string s;
  for (int64_t d : dims)
    s += field(1, uint64_t(d));
  return s + field(2, uint64_t(type)) + field(8, name) +
         field(13, field(1, "location") + field(2, file)) +
         field(13, field(1, "offset") + field(2, std::to_string(offset))) + field(14, uint64_t(1));
}

/// A parameter of each transform; some in the file, some beside it.
struct Model {
  TempFolder dir;
  std::string path = dir / "in/model.onnx";
  std::string graph, whole;
  Source same[2] = {{"a", "", 0, 24, DType::f32, Transform::same, 0},
                    {"copy", "w/data", 2, 24, DType::f32, Transform::transposeLast2, 0}};
  Source turned[1] = {{"b", "", 0, 24, DType::f32, Transform::transposeLast2, 0}};
  Source slices[2] = {{"c1", "", 0, 24, DType::f32, Transform::slice, 1},
                      {"c0", "", 0, 24, DType::f32, Transform::sliceTranspose, 0}};
  Source woven[1] = {{"d", "", 0, 32, DType::f32, Transform::interleaveHalvesDim1, 0}};
  Source half[1] = {{"e", "w/data", 26, 12, DType::bf16, Transform::reshape, 0}};
  ParameterInfo params[5] = {
      {"a", "m.a", 2, k23, true, Init::zeros, 0, 0, 2, same},
      {"b", "m.b", 2, k23, true, Init::zeros, 0, 16, 1, turned},
      {"c", "m.c", 3, k232, true, Init::zeros, 0, 32, 2, slices},
      {"d", "m.d", 3, k142, true, Init::zeros, 0, 48, 1, woven},
      {"e", "m.e", 1, k6, true, Init::zeros, 0, 64, 1, half}};
  Program p = {};

  Model() {
    std::filesystem::create_directories(dir / "in/w");
    const std::vector<std::pair<Source *, std::string>> tensors = {
        {&same[0], tensorProto("a", 1, {2, 3}, std::string(24, 'a'))},
        {&turned[0], tensorProto("b", 1, {3, 2}, std::string(24, 'b'))},
        {&slices[0], tensorProto("c1", 1, {3, 2}, std::string(24, 'c'))},
        {&slices[1], tensorProto("c0", 1, {2, 3}, std::string(24, 'C'))},
        {&woven[0], tensorProto("d", 1, {1, 4, 2}, std::string(32, 'd'))}};
    for (auto &[source, tensor] : tensors)
      graph += field(5, tensor);
    graph += field(5, external("copy", 1, {3, 2}, "w/data", 2)) +
             field(5, external("e", 16, {3, 2}, "w/data", 26)) +
             // A tensor of a type that no parameter has, in a file of its own.
             field(5, external("i8", 3, {4}, "codes", 0)) + field(2, "the graph's name");
    whole = field(1, uint64_t(8)) + field(7, graph) + field(2, "producer");
    for (auto &[source, tensor] : tensors) {
      source->file = "model.onnx";
      source->offset = int64_t(whole.find(tensor) + tensor.size()) - source->bytes;
    }
    write(path, whole);
    write(dir / "in/w/data", "xx" + std::string(24, 'y') + std::string(12, 'z') + "tail");
    write(dir / "in/codes", "1234");
    p.numParameters = 5;
    p.parameters = params;
  }

  void put(const std::string &to, const std::vector<Floats> &values) {
    OnnxExport file(p, path, to, Changed::trained);
    file.begin();
    for (size_t i = 0; i < values.size(); ++i)
      file.put(i, values[i].data());
    file.sync();
    file.publish();
  }
  std::string stored(const std::string &bytes, const Source &s) {
    return bytes.substr(s.offset, s.bytes);
  }
  std::string error(const std::string &to, Changed changed = Changed::trained) {
    try {
      OnnxExport(p, path, to, changed).paths();
    } catch (const InputError &e) {
      return e.what();
    }
    return "";
  }
};
} // namespace

TEST(Export, PutsValuesBackInEveryLayoutAndChangesNothingElse) {
  Model m;
  std::filesystem::create_directory(m.dir / "out");
  const std::vector<Floats> values = {{0, 1, 2, 3, 4, 5},
                                      {10, 11, 12, 13, 14, 15},
                                      {20, 21, 22, 23, 24, 25, 30, 31, 32, 33, 34, 35},
                                      {40, 41, 42, 43, 44, 45, 46, 47},
                                      {1, 2, 3, 4, 5, 6}};
  m.put(m.dir / "out/t.onnx", values);
  const std::string model = read(m.dir / "out/t.onnx"), data = read(m.dir / "out/w/data");
  EXPECT_EQ(m.stored(model, m.same[0]), bytes(Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(m.stored(data, m.same[1]), bytes(Floats{0, 3, 1, 4, 2, 5})); // the other copy
  EXPECT_EQ(m.stored(model, m.turned[0]), bytes(Floats{10, 13, 11, 14, 12, 15}));
  EXPECT_EQ(m.stored(model, m.slices[0]), bytes(Floats{30, 31, 32, 33, 34, 35}));
  EXPECT_EQ(m.stored(model, m.slices[1]), bytes(Floats{20, 22, 24, 21, 23, 25}));
  EXPECT_EQ(m.stored(model, m.woven[0]), bytes(Floats{40, 41, 44, 45, 42, 43, 46, 47}));
  EXPECT_EQ(m.stored(data, m.half[0]),
            bytes(std::vector<uint16_t>{0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0}));
  EXPECT_EQ(read(m.dir / "out/codes"), "1234");
  // Between them lies what was there.
  std::string rest = model, before = m.whole;
  for (const Source *s : {&m.same[0], &m.turned[0], &m.slices[0], &m.slices[1], &m.woven[0]}) {
    rest.replace(s->offset, s->bytes, s->bytes, '.');
    before.replace(s->offset, s->bytes, s->bytes, '.');
  }
  EXPECT_EQ(rest, before);
  EXPECT_EQ(data.substr(0, 2) + data.substr(38), "xxtail");
  EXPECT_EQ(read(m.path), m.whole);
  for (auto &entry : std::filesystem::recursive_directory_iterator(m.dir / "out"))
    EXPECT_NE(entry.path().extension(), ".tmp");
}

TEST(Export, WithoutEndNothingAppears) {
  Model m;
  std::filesystem::create_directory(m.dir / "out");
  write(m.dir / "out/t.onnx", "old");
  {
    OnnxExport file(m.p, m.path, m.dir / "out/t.onnx", Changed::trained);
    file.begin();
  }
  EXPECT_EQ(read(m.dir / "out/t.onnx"), "old");
  int files = 0;
  for (auto &entry : std::filesystem::recursive_directory_iterator(m.dir / "out"))
    files += entry.is_regular_file();
  EXPECT_EQ(files, 1);
}

TEST(Export, MakesTheFileOfWeightsThatWereNotThere) {
  Model m;
  std::filesystem::remove(m.dir / "in/w/data");
  for (Source *s : {&m.same[1], &m.half[0]})
    s->file = "", s->offset = 0; // as the compiler says it
  std::filesystem::create_directory(m.dir / "out");
  m.put(m.dir / "out/t.onnx", {Floats{0, 1, 2, 3, 4, 5}, Floats(6), Floats(12), Floats(8),
                               Floats{1, 2, 3, 4, 5, 6}});
  const std::string data = read(m.dir / "out/w/data");
  ASSERT_EQ(data.size(), 38u);
  EXPECT_EQ(data.substr(2, 24), bytes(Floats{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(data.substr(26), bytes(std::vector<uint16_t>{0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0}));

  // With a tensor in it whose values nobody knows.
  std::filesystem::remove(m.dir / "in/codes");
  EXPECT_NE(m.error(m.dir / "out/t.onnx").find("'i8', which lies in it, is no parameter"),
            std::string::npos);
}

TEST(Export, WhatCannotBeWrittenIsToldBefore) {
  Model m;
  EXPECT_NE(m.error(m.path).find("would write over '" + m.path + "'"), std::string::npos);
  EXPECT_NE(m.error(m.dir / "in/other.onnx").find("w/data', which the model is read from; give it "
                                                  "another folder"),
            std::string::npos);
  std::filesystem::create_directory(m.dir / "out");
  EXPECT_EQ(m.error(m.dir / "out/t.onnx"), "");
  // Typed numbers of a width that varies.
  m.turned[0] = {"half", "", 0, 12, DType::f16, Transform::transposeLast2, 0};
  EXPECT_NE(m.error(m.dir / "out/t.onnx").find("'half' of '" + m.path + "' has no place"),
            std::string::npos);
  // A file that is no more what it was.
  FileInfo file = {"w/data", 5, 5};
  m.p.numFiles = 1;
  m.p.files = &file;
  EXPECT_NE(m.error(m.dir / "out/t.onnx").find("has changed since the program was compiled"),
            std::string::npos);
}

namespace {
std::string node(const std::string &type, const std::vector<std::string> &inputs,
                 const std::string &output, const std::string &more = "") {
  std::string s;
  for (const std::string &input : inputs)
    s += field(1, input);
  return field(1, s + field(2, output) + field(4, type) + more);
}
} // namespace

TEST(Export, MergedParametersGetInitializersOfTheirOwn) {
  TempFolder dir;
  std::filesystem::create_directories(dir / "in");
  const std::string path = dir / "in/model.onnx";
  // More than 127 bytes in a node, so that a longer name makes its length longer, too.
  const std::string doc = field(6, std::string(115, 'd'));
  auto model = [&](const std::string &second, const std::string &third, const std::string &added) {
    const std::string graph = node("Mul", {"x", "n1"}, "y") + node("Pow", {"y", second}, "z", doc) +
                              field(2, "g") + field(5, tensorProto("w", 1, {3}, "wwwwwwwwwwww")) +
                              added + field(5, tensorProto("n1", 1, {3}, bytes(Floats{1, 2, 3}))) +
                              node("Sub", {third, "z"}, "out");
    return field(1, uint64_t(8)) + field(7, graph) + field(2, "producer");
  };
  write(path, model("n1", "n1", ""));
  Source source[1] = {{"n1", "model.onnx", 0, 12, DType::f32, Transform::same, 0}};
  const int64_t shape[] = {3};
  ParameterInfo params[2] = {{"a", "layers.0.norm.weight", 1, shape, true, Init::ones, 0, 0, 1, source},
                             {"b", "n1", 1, shape, true, Init::ones, 0, 16, 1, source}};
  source[0].offset = int64_t(read(path).find(bytes(Floats{1, 2, 3})));
  MergedUse uses[] = {{"b", "Mul", 1}, {"a", "Pow", 1}, {"a", "Sub", 0}};
  const MergedInfo merged[] = {{"n1", 3, uses}};
  Program p = {};
  p.numParameters = 2;
  p.parameters = params;
  p.merged = merged;
  p.numMerged = 1;
  auto written = [&](Changed changed, const Floats &a, const Floats &b) {
    OnnxExport file(p, path, dir / "out.onnx", changed);
    file.begin();
    file.put(0, a.data());
    file.put(1, b.data());
    file.sync();
    file.publish();
    return read(dir / "out.onnx");
  };
  std::string want = model(params[0].torchName, params[0].torchName,
                           field(5, tensorProto(params[0].torchName, 1, {3}, bytes(Floats{4, 5, 6}))));
  want.replace(want.find(bytes(Floats{1, 2, 3})), 12, bytes(Floats{7, 8, 9}));
  EXPECT_EQ(written(Changed::trained, {4, 5, 6}, {7, 8, 9}), want);

  // As --weights each takes its own.
  p.paramElements = p.gradElements = 32;
  Context ctx(p, 1);
  loadWeights(ctx, dir / "out.onnx", 0, "/x/trainer");
  EXPECT_EQ(Floats(ctx.param(0), ctx.param(3)), (Floats{4, 5, 6}));
  EXPECT_EQ(Floats(ctx.param(16), ctx.param(19)), (Floats{7, 8, 9}));

  // Another file than the one that was compiled, or nobody knows.
  auto error = [&] {
    try {
      OnnxExport(p, path, dir / "out.onnx", Changed::trained);
    } catch (const InputError &e) {
      return std::string(e.what());
    }
    return std::string();
  };
  uses[2].input = 1;
  EXPECT_NE(error().find("are not those of the time of compilation"), std::string::npos);
  p.numMerged = 0;
  EXPECT_NE(error().find("'n1' of '" + path + "' holds 'layers.0.norm.weight' and 'n1'"), std::string::npos);
  // Frozen ones stay as they are, but where --weights has others.
  params[0].trainable = params[1].trainable = false;
  EXPECT_EQ(written(Changed::trained, {1, 2, 3}, {1, 2, 3}), read(path));
  EXPECT_THROW(written(Changed::all, {4, 5, 6}, {7, 8, 9}), RunError);
  p.numMerged = 1;
  uses[2].input = 0;
  EXPECT_EQ(written(Changed::all, {4, 5, 6}, {7, 8, 9}), want);
}

//===----------------------------------------------------------------------===//
// Safetensors, and many ranks
//===----------------------------------------------------------------------===//

namespace {
struct Ended {
  int code;
  std::string err;
};
Ended runTrainer(const Program &p, std::vector<std::string> args) {
  args.insert(args.begin(), "trainer");
  std::vector<char *> argv;
  for (std::string &a : args)
    argv.push_back(a.data());
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  const int code = trainerMain(int(argv.size()), argv.data(), p);
  testing::internal::GetCapturedStdout();
  return {code, testing::internal::GetCapturedStderr()};
}

/// A file of random values for all parameters.
std::string randomWeights(const Program &p, const std::string &path) {
  std::vector<Floats> values;
  std::vector<NamedTensor> tensors;
  for (const ParameterInfo *q : allParameters(p))
    values.push_back(random(Part::ofRank(*q, Mesh(), 0).wholeElements(), int(values.size())));
  for (const ParameterInfo *q : allParameters(p))
    tensors.push_back({q->torchName, globalShape(*q), values[tensors.size()].data()});
  writeSafetensors(path, tensors);
  return read(path);
}
} // namespace

TEST(Export, EveryPlansPiecesBecomeTheSameFile) {
  TempFolder dir;
  auto check = [&](const Program &p, const std::string &what) {
    const std::string weights = randomWeights(p, dir / "in.safetensors");
    const Ended end = runTrainer(p, {"--weights", dir / "in.safetensors", "--steps", "0",
                                     "--export-safetensors", dir / "out.safetensors"});
    EXPECT_EQ(end.code, 0) << what << ": " << end.err;
    EXPECT_EQ(read(dir / "out.safetensors"), weights) << what;
  };
  for (const char *mesh : {"dp=1", "dp=2,ep=2,tp=2", "ep=4,tp=2", "dp=3"})
    for (int zero : {0, 1, 2, 3}) {
      RankProgram program(mesh, zero);
      check(program.p, std::string(mesh) + " zero " + std::to_string(zero));
    }
  for (const char *placement : {"1f1b", "v", "dual", "v,dp=2,zero=2"}) {
    StageProgram program(placementOf(placement));
    check(program.p, placement);
  }
}

TEST(Export, WritesTheNamesOfStateDict) {
  TempFolder dir;
  RankProgram program("tp=2");
  const SavedName saved[] = {{"table", "m.table"}, {"table", "m.head"}, {"bias", "m.bias"}};
  program.p.saved = saved;
  program.p.numSaved = 3;
  randomWeights(program.p, dir / "in.safetensors");
  const Ended end = runTrainer(program.p, {"--weights", dir / "in.safetensors", "--steps", "0",
                                           "--export-safetensors", dir / "out.safetensors"});
  ASSERT_EQ(end.code, 0) << end.err;
  const Safetensors in(dir / "in.safetensors"), out(dir / "out.safetensors");
  ASSERT_EQ(out.tensors().size(), 3u);
  const std::string table = in.tensors().at("m.table").data.str();
  EXPECT_EQ(out.tensors().at("m.table").data.str(), table);
  EXPECT_EQ(out.tensors().at("m.head").data.str(), table);
  EXPECT_EQ(out.tensors().at("m.bias").data.str(), in.tensors().at("m.bias").data.str());
}

TEST(Export, WrongPathsEndTheRunBeforeTheFirstStep) {
  TempFolder dir;
  RankProgram program("dp=2");
  program.p.init = true;
  auto error = [&](const std::string &path, const std::vector<std::string> &more = {}) {
    std::vector<std::string> args = {"--steps", "0", "--export-safetensors", path};
    args.insert(args.end(), more.begin(), more.end());
    const Ended end = runTrainer(program.p, args);
    EXPECT_EQ(end.code, 1);
    EXPECT_EQ(std::count(end.err.begin(), end.err.end(), '\n'), 1) << end.err;
    return end.err;
  };
  EXPECT_NE(error(dir / "no/w.safetensors").find("there is no folder"), std::string::npos);
  EXPECT_NE(error(dir.path).find("it is there and no file"), std::string::npos);
  EXPECT_NE(error("").find("--data is missing"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path));
}
