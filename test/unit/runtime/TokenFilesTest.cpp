//===- TokenFilesTest.cpp - Formats of token files -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "DataUtil.h"
#include "train/token_files/token_file.h"

#include <algorithm>
#include <chrono>
#include <fcntl.h>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
std::vector<int64_t> tokensOf(const std::string &name) {
  const auto file = openTokenFile(name);
  std::vector<int64_t> tokens(file->count());
  file->read(0, file->count(), tokens.data());
  return tokens;
}

std::vector<int64_t> startsOf(const std::string &name) {
  const auto file = openTokenFile(name);
  std::vector<int64_t> starts(file->documents() + 1);
  file->documentStarts(0, file->documents(), starts.data());
  return starts;
}

template <typename T> std::string raw(T value) { return bytes(std::vector<T>{value}); }

/// An index with everything to damage.
struct MegatronIndex {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths;
  std::vector<int64_t> pointers, documents;
  int64_t sequencesOff = 0, documentsOff = 0;

  /// Sequences of these lengths, of so many bytes a token; documents begin at these sequences.
  MegatronIndex(std::vector<int32_t> l, std::vector<int64_t> d, int64_t width = 2)
      : lengths(std::move(l)), documents(std::move(d)) {
    int64_t at = 0;
    for (int32_t n : lengths) {
      pointers.push_back(at);
      at += n * width;
    }
    documents.push_back(int64_t(lengths.size()));
  }
  std::string text() const {
    return magic + raw(version) + raw(type) + raw(uint64_t(lengths.size() + sequencesOff)) +
           raw(uint64_t(documents.size() + documentsOff)) + bytes(lengths) + bytes(pointers) +
           bytes(documents);
  }
};

std::string npy(const std::string &header, const std::string &values, int major = 1) {
  std::string s = std::string("\x93NUMPY") + char(major) + char(0);
  s += major == 1 ? raw(uint16_t(header.size())) : raw(uint32_t(header.size()));
  return s + header + values;
}
std::string header(const std::string &descr, const std::string &shape,
                   const std::string &fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape +
         ", }      \n";
}

int64_t residentBytes() {
  std::ifstream f("/proc/self/statm");
  int64_t pages = 0;
  f >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}
} // namespace

TEST(LlmC, EachDamagedFieldIsRefused) {
  TempFolder dir;
  LanguageModel m;
  std::vector<uint16_t> t(20, 5);
  write(dir / "short.bin", "abc");
  EXPECT_NE(errorOf(dir / "short.bin", m.p).find("has 3 bytes"), std::string::npos);
  write(dir / "magic.bin", tokenFile(1234, 1, 20, t));
  EXPECT_NE(errorOf(dir / "magic.bin", m.p).find("has magic 1234"), std::string::npos);
  write(dir / "version.bin", tokenFile(20240520, 2, 20, t));
  EXPECT_NE(errorOf(dir / "version.bin", m.p).find("has version 2"), std::string::npos);
  write(dir / "size.bin", tokenFile(20240520, 1, 21, t));
  EXPECT_NE(errorOf(dir / "size.bin", m.p).find("21 tokens of 2 bytes need 1066"),
            std::string::npos);
  write(dir / "few.bin", tokenFile(20240520, 1, 4, std::vector<uint16_t>(4)));
  EXPECT_NE(errorOf(dir / "few.bin", m.p).find("holds 4 tokens, one window needs seq + 1 = 5"),
            std::string::npos);
  t[3] = 300;
  write(dir / "range.bin",
        tokenFile(20240520, 1, 5, std::vector<uint16_t>(t.begin(), t.begin() + 5)));
  EXPECT_NE(errorOf(dir / "range.bin", m.p).find("token 300 at position 3"), std::string::npos);
  EXPECT_NE(errorOf(dir / "none.bin", m.p).find("does not exist"), std::string::npos);
  m.p.tokenVocab = 96;
  write(dir / "text", "hello world");
  EXPECT_NE(errorOf(dir / "text", m.p).find("need a vocabulary of 256, the model has 96"),
            std::string::npos);
}

TEST(Megatron, EachTypeUnderEachNameWithItsDocuments) {
  TempFolder dir;
  const std::vector<int64_t> want = {1, 2, 3, 100, 5, 6, 7};
  auto check = [&](uint8_t type, auto one) {
    using T = decltype(one);
    MegatronIndex index({3, 2, 2}, {0, 1}, sizeof(T));
    index.type = type;
    write(dir / "x.idx", index.text());
    write(dir / "x.bin", bytes(std::vector<T>(want.begin(), want.end())));
    for (const char *name : {"x", "x.bin", "x.idx"}) {
      EXPECT_EQ(tokensOf(dir / name), want) << int(type);
      EXPECT_EQ(startsOf(dir / name), (std::vector<int64_t>{0, 3, 7}));
    }
  };
  check(1, uint8_t());
  check(2, int8_t());
  check(3, int16_t());
  check(4, int32_t());
  check(5, int64_t());
  check(8, uint16_t());
}

TEST(Megatron, EachDamagedFieldIsRefused) {
  TempFolder dir;
  LanguageModel m;
  write(dir / "x.bin", bytes(std::vector<uint16_t>(12, 7)));
  auto error = [&](auto damage) {
    MegatronIndex index({5, 4, 3}, {0, 2});
    damage(index);
    write(dir / "x.idx", index.text());
    return errorOf(dir / "x.idx", m.p);
  };
  using I = MegatronIndex;
  EXPECT_EQ(error([](I &) {}), "");
  auto expect = [&](auto damage, const std::string &what) {
    const std::string said = error(damage);
    EXPECT_NE(said.find(what), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  };
  expect([](I &i) { i.magic[2] = 'X'; }, "begins with 'MMXDIDX..', a Megatron index with");
  expect([](I &i) { i.version = 2; }, "has version 2, a Megatron index that can be read has 1");
  expect([](I &i) { i.type = 7; }, "has type code 7; tokens are 1 (u8)");
  expect([](I &i) { i.sequencesOff = 1; }, "has 94 bytes, its header's 4 sequences and 3 document "
                                           "indices need 106");
  expect([](I &i) { i.sequencesOff = int64_t(1) << 60; }, "need far more");
  expect([](I &i) { i.documentsOff = -1; }, "3 sequences and 2 document indices need 86");
  expect([](I &i) { i.documents.clear(); }, "has no document index");
  expect([](I &i) { i.lengths[1] = -4; }, "gives sequence 1 a length of -4");
  expect([](I &i) { i.lengths[2] = 9; }, "has 24 bytes, the 18 tokens of 2 bytes that '");
  expect([](I &i) { i.pointers[1] = 12; }, "has sequence 1 at byte 12, and those before it end at "
                                           "10");
  expect([](I &i) { i.documents[0] = 1; }, "has document index 1 at place 0; they ascend from 0 to "
                                           "the number of sequences, 3");
  expect([](I &i) { i.documents[1] = 4; }, "has document index 4 at place 1");
  expect([](I &i) { i.documents[2] = 2; }, "has document index 2 at place 2");
  write(dir / "x.idx", "MMIDIDX");
  EXPECT_NE(
      errorOf(dir / "x", m.p).find("has 7 bytes, a Megatron index starts with a header of 34"),
      std::string::npos);
  std::filesystem::remove(dir / "x.idx");
  EXPECT_NE(errorOf(dir / "x.idx", m.p).find("cannot read '" + dir.path + "/x.idx'"),
            std::string::npos);
}

TEST(Npy, EachTypeVersionAndRank) {
  TempFolder dir;
  const std::vector<int64_t> want = {1, 2, 3, 100, 5, 6};
  auto check = [&](const std::string &descr, auto one) {
    const std::string values = bytes(std::vector<decltype(one)>(want.begin(), want.end()));
    for (int major : {1, 2, 3}) {
      write(dir / "a.npy", npy(header(descr, "(6,)"), values, major));
      EXPECT_EQ(tokensOf(dir / "a.npy"), want) << descr;
      EXPECT_EQ(startsOf(dir / "a.npy"), (std::vector<int64_t>{0, 6}));
    }
    write(dir / "b", npy(header(descr, "(2, 3)"), values)); // known without its ending
    EXPECT_EQ(tokensOf(dir / "b"), want) << descr;
    EXPECT_EQ(startsOf(dir / "b"), (std::vector<int64_t>{0, 3, 6}));
  };
  check("|u1", uint8_t());
  check("|i1", int8_t());
  check("<u2", uint16_t());
  check("<i2", int16_t());
  check("<u4", uint32_t());
  check("<i4", int32_t());
  check("<u8", uint64_t());
  check("<i8", int64_t());
}

TEST(Npy, EachDamagedFieldIsRefused) {
  TempFolder dir;
  LanguageModel m;
  const std::string six = bytes(std::vector<uint16_t>{1, 2, 3, 4, 5, 6}),
                    good = header("<u2", "(6,)");
  auto expect = [&](const std::string &file, const std::string &what) {
    write(dir / "a.npy", file);
    const std::string said = errorOf(dir / "a.npy", m.p);
    EXPECT_NE(said.find(what), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  };
  write(dir / "a.npy", npy(good, six));
  EXPECT_EQ(errorOf(dir / "a.npy", m.p), "");
  expect("\x93NUMPX" + npy(good, six).substr(6), "does not begin with \\x93NUMPY");
  expect(npy(good, six, 4), "has .npy version 4.0; 1.0, 2.0 and 3.0 can be read");
  expect(npy(good, six).substr(0, 40), "has 40 bytes, its header alone needs ");
  expect(npy(header(">u2", "(6,)"), six), "has dtype '>u2'; tokens are little-endian integers");
  expect(npy(header("<f4", "(3,)"), six), "has dtype '<f4'");
  expect(npy(header("|b1", "(12,)"), six), "has dtype '|b1'");
  expect(npy("{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (6,), }", six),
         "without a simple 'descr'");
  expect(npy(header("<u2", "(7,)"), six), "has 12 bytes of values, its header's 7 of 2 bytes need "
                                          "14");
  expect(npy(header("<u2", "(5,)"), six), "its header's 5 of 2 bytes need 10");
  expect(npy(header("<u2", "(4000000000000, 4000000000000)"), six), "more elements than any file");
  expect(npy(header("<u2", "()"), six), "has 0 dimensions; tokens have 1 or 2");
  expect(npy(header("<u2", "(1, 2, 3)"), six), "has 3 dimensions");
  expect(npy(header("<u2", "(6"), six), "without a 'shape' that can be read");
  expect(npy(header("<u2", "(-6,)"), six), "without a 'shape' that can be read");
  expect(npy(header("<u2", "(2, 3)", "True"), six), "is in Fortran order");
  expect(npy(header("<u2", "(6,)", "Maybe"), six), "without a 'fortran_order'");
  expect(npy(header("<i2", "(6,)"), bytes(std::vector<int16_t>{1, 2, 3, -4, 5, 6})),
         "token -4 at position 3 of");
}

TEST(Headerless, IsNamedByItsType) {
  TempFolder dir;
  LanguageModel m;
  const std::vector<int64_t> want = {1, 2, 300, 4, 5};
  write(dir / "a.bin", bytes(std::vector<uint16_t>(want.begin(), want.end())));
  write(dir / "b.bin", bytes(std::vector<uint32_t>(want.begin(), want.end())));
  EXPECT_EQ(tokensOf("u16:" + dir / "a.bin"), want);
  EXPECT_EQ(tokensOf("u32:" + dir / "b.bin"), want);
  EXPECT_NE(errorOf("u32:" + dir / "a.bin", m.p)
                .find("has 10 bytes, tokens of 4 bytes need a "
                      "multiple"),
            std::string::npos);
  write(dir / "a.bin", bytes(std::vector<uint16_t>(600, 1)));
  EXPECT_NE(errorOf(dir / "a.bin", m.p).find("tokens without a header are named u16:FILE"),
            std::string::npos);
}

// 100 GB that were never written. Each is deleted as soon as it is open.
TEST(LargeFiles, StartAtOnceAndMemoryDoesNotGrow) {
  LanguageModel m(8);
  const int64_t seq = m.p.seq = 4096;
  m.shape[1] = seq;
  const int64_t size = int64_t(100) << 30, count = size / 2;
  auto sparse = [&](const std::string &path, const std::string &start) {
    write(path, start);
    const int64_t bytes = size + (path.back() == 'y' ? int64_t(start.size()) : 0);
    EXPECT_EQ(truncate(path.c_str(), bytes), 0) << std::strerror(errno);
  };
  // Sequences of 2^30 tokens, each a document.
  std::vector<int64_t> documents(50);
  for (int64_t i = 0; i < 50; ++i)
    documents[i] = i;
  for (const std::string name : {"text", "x.npy", "x.bin"}) {
    TempFolder dir;
    write(dir / "x.idx", MegatronIndex(std::vector<int32_t>(50, 1 << 30), documents).text());
    sparse(dir / name,
           name == "x.npy" ? npy(header("<u2", "(" + std::to_string(count) + ",)"), "") : "");
    MicroBatch batch(m.p);
    const auto begin = std::chrono::steady_clock::now();
    auto data = openData({dir / name, {}, name == "x.bin", 1}, m.p, 1);
    data->read(0, 0, batch);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::filesystem::remove(dir / name);
    EXPECT_LT(seconds.count(), 1) << name;
    EXPECT_EQ(batch.counted, 8 * seq);
    const int64_t before = residentBytes();
    for (int64_t row = 8; row < 5000; row += 8) // 20 to 40 MB
      data->read(row, 0, batch);
    EXPECT_LT(residentBytes() - before, 8 << 20) << name;
  }
}
