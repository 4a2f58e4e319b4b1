//===- DataTest.cpp - Rows of tokens, folders of tensors -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "DataUtil.h"
#include "train/philox.h"
#include "train/tensor_file.h"

#include <numeric>
#include <set>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int kFloat = 1, kInt64 = 7;
const int64_t kBatch[] = {2};
} // namespace

TEST(Tokens, BothVariantsGiveWindowsOfSeqPlusOneOnceAnEpoch) {
  TempFolder dir;
  LanguageModel m;
  std::vector<uint16_t> t16(41);
  std::iota(t16.begin(), t16.end(), 0);
  std::vector<uint32_t> t32(t16.begin(), t16.end());
  write(dir / "a.bin", tokenFile(20240520, 1, 41, t16));
  write(dir / "b.bin", tokenFile(20240801, 7, 41, t32));
  for (const char *name : {"a.bin", "b.bin"}) {
    auto data = dataOf(dir / name, m.p, 1, 7);
    std::multiset<int64_t> starts;
    for (int64_t step = 1; step <= 10; ++step) { // 10 windows, 2 a step: 2 epochs
      MicroBatch b(m.p);
      data->read(2 * (step - 1), 0, b); // one micro-batch of two rows a step
      EXPECT_EQ(b.counted, 8);
      auto ids = ints(b, 0, 8), labels = ints(b, 3, 8), positions = ints(b, 2, 8);
      EXPECT_EQ(positions, (std::vector<int64_t>{0, 1, 2, 3, 0, 1, 2, 3}));
      EXPECT_EQ(b.blocks[1].as<uint8_t>()[7], 1);
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(labels[i], ids[i] + 1);
        EXPECT_EQ(ids[i] % 4, i % 4);
      }
      starts.insert(ids[0]);
      starts.insert(ids[4]);
    }
    for (int64_t w = 0; w < 10; ++w)
      EXPECT_EQ(starts.count(4 * w), 2u);
  }
}

TEST(Tokens, OrderDependsOnTheSeedAlone) {
  TempFolder dir;
  LanguageModel m;
  std::string text;
  for (int i = 0; i < 4001; ++i)
    text += char(i * 7);
  write(dir / "text.txt", text);
  MicroBatch a(m.p), b(m.p), c(m.p);
  dataOf(dir / "text.txt", m.p, 1, 1)->read(6, 0, a);
  dataOf(dir / "text.txt", m.p, 1, 1)->read(6, 0, b);
  dataOf(dir / "text.txt", m.p, 1, 2)->read(6, 0, c);
  EXPECT_EQ(ints(a, 0, 8), ints(b, 0, 8));
  EXPECT_NE(ints(a, 0, 8), ints(c, 0, 8));
}

TEST(Tokens, AGraphThatShiftsGetsTheTokensAsLabels) {
  TempFolder dir;
  LanguageModel m;
  m.p.loss = Loss::output;
  m.p.labels = Labels::asIs;
  m.p.count = Count::skipFirst;
  write(dir / "t", "abcdefghi");
  MicroBatch b(m.p);
  dataOf(dir / "t", m.p, 1, 0)->read(0, 0, b);
  EXPECT_EQ(ints(b, 0, 8), ints(b, 3, 8));
  EXPECT_EQ(b.counted, 6);
}

namespace {
/// Four rows of tokens 0 … 15 and labels 100 … 115, one of them -100.
void writeFolder(const TempFolder &dir, const std::string &name = "input_ids") {
  std::vector<int64_t> ids(16), labels(16);
  std::iota(ids.begin(), ids.end(), 0);
  std::iota(labels.begin(), labels.end(), 100);
  labels[15] = -100;
  write(dir / "input_0.pb", tensorProto(name, kInt64, {4, 4}, bytes(ids)));
  write(dir / "labels.pb", tensorProto("labels", kInt64, {4, 4}, bytes(labels)));
}
} // namespace

TEST(Folder, RowsAreCutInOrderAndLabelsShifted) {
  TempFolder dir;
  LanguageModel m;
  writeFolder(dir);
  auto data = dataOf(dir.path, m.p, 2, 0);
  MicroBatch b(m.p);
  data->read(20, 1, b);
  EXPECT_EQ(ints(b, 0, 8), (std::vector<int64_t>{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(ints(b, 3, 8), (std::vector<int64_t>{109, 110, 111, -100, 113, 114, -100, -100}));
  EXPECT_EQ(b.counted, 5);
  EXPECT_EQ(ints(b, 2, 4), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Folder, LabelsAsTheyAre) {
  TempFolder dir;
  LanguageModel m;
  writeFolder(dir);
  m.p.labels = Labels::asIs;
  m.p.count = Count::skipFirst;
  MicroBatch b(m.p);
  dataOf(dir.path, m.p, 2, 0)->read(4, 1, b);
  EXPECT_EQ(ints(b, 3, 8), (std::vector<int64_t>{108, 109, 110, 111, 112, 113, 114, -100}));
  EXPECT_EQ(b.counted, 5);
}

TEST(Folder, WrongFilesAreRefusedWithBothValues) {
  TempFolder dir;
  LanguageModel m;
  writeFolder(dir);
  EXPECT_NE(errorOf(dir.path, m.p, 1).find("leading dimension of 4, batch 2 x accumulation 1 "
                                           "is 2; use --accumulate 2"), std::string::npos);
  const RampInfo ramp[] = {{2, 0, 0}}; // two micro-batches make a round
  m.p.ramp = ramp;
  m.p.numRamp = 1;
  EXPECT_NE(errorOf(dir.path, m.p, 2)
                .find("batch 2 x 2 micro-batches x accumulation 2 is 8; use "
                      "--accumulate 1"),
            std::string::npos);
  m.p.numRamp = 0;
  writeFolder(dir, "ids");
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("'ids', input 0 of the model is 'input_ids'"),
            std::string::npos);
  writeFolder(dir);
  std::vector<int64_t> big(16, 3);
  big[6] = 300;
  write(dir / "labels.pb", tensorProto("labels", kInt64, {4, 4}, bytes(big)));
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("label 300 at row 1, position 2"), std::string::npos);
  write(dir / "labels.pb", tensorProto("labels", kFloat, {4, 4}, bytes(Floats(16))));
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("holds float32, input 'labels' is int64"), std::string::npos);
  write(dir / "labels.pb", tensorProto("labels", kInt64, {4, 5}, bytes(big)));
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("its shape [4, 5] of int64 needs 160"), std::string::npos);
  std::filesystem::remove(dir / "labels.pb");
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("labels.pb', which gives the input 'labels', does not exist"),
            std::string::npos);
  write(dir / "labels.pb", read(dir / "input_0.pb").substr(0, 50));
  EXPECT_NE(errorOf(dir.path, m.p, 2).find("not a valid protobuf file: it is cut off"), std::string::npos);
}

TEST(Folder, ClassLabelsAndFloatInputs) {
  TempFolder dir;
  const int64_t pixels[] = {2, 3};
  InputInfo inputs[2] = {{"x", DType::f32, 2, pixels, Role::other, 0},
                         {"labels", DType::i64, 1, kBatch, Role::labels, -1}};
  Program p = {};
  p.batch = 2;
  p.vocab = 10;
  p.loss = Loss::classes;
  p.labels = Labels::asIs;
  p.inputs = inputs;
  p.numInputs = 2;
  write(dir / "input_0.pb", tensorProto("x", kFloat, {2, 3}, bytes(Floats{1, 2, 3, 4, 5, 6})));
  write(dir / "labels.pb", tensorProto("", kInt64, {2}, bytes(std::vector<int64_t>{9, -100})));
  MicroBatch b(p);
  dataOf(dir.path, p, 1, 0)->read(0, 0, b);
  EXPECT_EQ(b.blocks[0].as<float>()[5], 6.0f);
  EXPECT_EQ(b.counted, 1);
  std::filesystem::remove(dir / "input_0.pb");
  EXPECT_NE(errorOf(dir.path, p).find("gives the input 'x', does not exist"), std::string::npos);
  write(dir / "text", "abcdef");
  EXPECT_NE(errorOf(dir / "text", p), "");
}

namespace {
/// Folder k of `dir`: three rows of the token 10 k + row.
void writeFolders(const TempFolder &dir, int folders) {
  for (int k = 0; k < folders; ++k) {
    std::filesystem::create_directory(dir / std::to_string(k));
    std::vector<int64_t> ids;
    for (int i = 0; i < 12; ++i)
      ids.push_back(10 * k + i / 4);
    const std::string raw = bytes(ids);
    write(dir / (std::to_string(k) + "/input_0.pb"), tensorProto("input_ids", kInt64, {3, 4}, raw));
    write(dir / (std::to_string(k) + "/labels.pb"), tensorProto("labels", kInt64, {3, 4}, raw));
  }
}
} // namespace

TEST(Folders, EveryFolderOnceAnEpochRowByRowWhateverTheBatch) {
  TempFolder dir;
  LanguageModel m;
  writeFolders(dir, 5);
  auto data = dataOf(dir.path, m.p, 1, 3);
  std::vector<int64_t> rows; // two epochs
  for (int64_t n = 0; n < 30; n += 2) {
    MicroBatch b(m.p);
    data->read(n, 0, b);
    EXPECT_EQ(b.counted, 6);
    rows.push_back(ints(b, 0, 8)[0]);
    rows.push_back(ints(b, 0, 8)[4]);
  }
  std::vector<int64_t> order;
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::set<int64_t> seen;
    for (int k = 0; k < 5; ++k) {
      const int64_t first = rows[15 * epoch + 3 * k];
      seen.insert(first);
      order.push_back(first);
      for (int r = 0; r < 3; ++r)
        EXPECT_EQ(rows[15 * epoch + 3 * k + r], first + r);
    }
    EXPECT_EQ(seen, (std::set<int64_t>{0, 10, 20, 30, 40}));
  }
  EXPECT_NE(order, (std::vector<int64_t>{0, 10, 20, 30, 40, 0, 10, 20, 30, 40}));
  for (int64_t n = 0; n < 29; ++n) { // from any row on
    MicroBatch b(m.p);
    dataOf(dir.path, m.p, 1, 3)->read(n, 0, b);
    EXPECT_EQ(ints(b, 0, 8)[0], rows[n]);
    EXPECT_EQ(ints(b, 0, 8)[4], rows[n + 1]);
  }
}

TEST(Folders, WrongOnesAreRefusedAtTheStart) {
  TempFolder dir;
  LanguageModel m;
  writeFolders(dir, 3);
  EXPECT_NE(errorOf(DataOptions{dir.path, {}, true, 0}, m.p)
                .find("--documents keep is for token files"), std::string::npos);
  const std::vector<int64_t> ids(8, 1);
  write(dir / "2/input_0.pb", tensorProto("input_ids", kInt64, {2, 4}, bytes(ids)));
  EXPECT_NE(errorOf(dir.path, m.p).find("/2/input_0.pb' has a leading dimension of 2, those in '" +
                                        dir.path + "/0' one of 3"), std::string::npos);
  std::filesystem::remove(dir / "2/input_0.pb");
  EXPECT_NE(errorOf(dir.path, m.p).find("gives the input 'input_ids', does not exist"),
            std::string::npos);
}

TEST(TensorFile, TypedFieldsInsteadOfRawData) {
  std::string floats = bytes(Floats{1.5f, -2.0f});
  TensorView t;
  auto parse = [](const std::string &s) {
    return parseTensor({reinterpret_cast<const unsigned char *>(s.data()), int64_t(s.size())}, "x");
  };
  std::string head = field(1, uint64_t(2)) + field(2, uint64_t(1));
  std::string packed = head + field(4, floats);
  t = parse(packed);
  EXPECT_EQ(std::memcmp(t.data.data, floats.data(), 8), 0);
  std::string single = head + varint(4 << 3 | 5) + floats.substr(0, 4) + varint(4 << 3 | 5) + floats.substr(4);
  t = parse(single);
  EXPECT_EQ(std::memcmp(t.data.data, floats.data(), 8), 0);
  std::string ints = field(1, uint64_t(2)) + field(2, uint64_t(7)) +
                     field(7, varint(5) + varint(uint64_t(-100)));
  t = parse(ints);
  int64_t values[2];
  ASSERT_EQ(t.data.size, 16);
  std::memcpy(values, t.data.data, 16);
  EXPECT_EQ(values[1], -100);
}

TEST(Permutation, IsOneForEverySize) {
  for (uint64_t n : {1, 2, 3, 17, 64, 1000}) {
    Permutation order(n, 5, 2);
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i)
      seen.insert(order(i));
    EXPECT_EQ(seen.size(), n);
    EXPECT_EQ(*seen.rbegin(), n - 1);
  }
}

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  auto zero = philox(0, 0, 0);
  EXPECT_EQ(zero[0], 0x6627e8d5u);
  EXPECT_EQ(zero[1], 0xe169c58du);
  EXPECT_EQ(zero[2], 0xbc57ac4cu);
  EXPECT_EQ(zero[3], 0x9b00dbd8u);
  auto ones = philox(~0ull, ~0ull, ~0ull);
  EXPECT_EQ(ones[0], 0x408f276du);
}
