//===- DataOrderTest.cpp - Which row comes when ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The order of rows of token files, against an implementation that makes lists of
// everything and counts from the first row on.
//
//===----------------------------------------------------------------------===//

#include "DataUtil.h"
#include "train/mixture.h"
#include "train/philox.h"

#include <numeric>
#include <set>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Row = std::vector<int64_t>; ///< tokens of a window, 2 to seq + 1
using Stream = std::vector<Row>;

struct Phase {
  int64_t firstRow;
  std::vector<double> weights;
};

Stream windows(const std::vector<Row> &documents, bool keep) {
  Stream all;
  Row joined;
  for (const Row &document : documents)
    joined.insert(joined.end(), document.begin(), document.end());
  for (const Row &text : keep ? documents : std::vector<Row>{joined})
    for (size_t at = 0; at + 1 < text.size(); at += 4) {
      Row row(text.begin() + at, text.begin() + std::min(at + 5, text.size()));
      if (keep || row.size() == 5)
        all.push_back(row);
    }
  return all;
}

/// All of 0 … n-1, shuffled: six rounds of a Feistel network on pairs of digits, again and again
/// while what comes out is too large.
std::vector<int64_t> shuffled(int64_t n, uint64_t seed, uint64_t epoch) {
  int64_t base = 1;
  while (base * base < n)
    base *= 2;
  std::vector<int64_t> once(base * base);
  for (int64_t i = 0; i < base * base; ++i) {
    int64_t high = i / base, low = i % base;
    for (int64_t round = 0; round < 6; ++round) {
      const int64_t mixed = high ^ int64_t(philox(seed, epoch, low * 8 + round)[0] % base);
      high = low;
      low = mixed;
    }
    once[i] = high * base + low;
  }
  std::vector<int64_t> order;
  for (int64_t i = 0; i < n; ++i) {
    int64_t to = once[i];
    while (to >= n)
      to = once[to];
    order.push_back(to);
  }
  return order;
}

std::vector<Row> firstRows(int64_t n, const std::vector<Stream> &streams,
                           const std::vector<Phase> &phases, uint64_t seed) {
  const auto words = philox(seed, ~0ull, 0);
  uint64_t x = uint64_t(words[1]) * 4294967296u + words[0];
  std::vector<int64_t> used(streams.size());
  std::vector<Row> rows;
  for (int64_t r = 0; r < n; ++r, x += 11400714819323198485u) {
    const Phase *phase = &phases[0];
    for (const Phase &p : phases)
      if (p.firstRow <= r)
        phase = &p;
    const double sum = std::accumulate(phase->weights.begin(), phase->weights.end(), 0.0);
    size_t s = 0;
    for (double end = phase->weights[0]; double(x) * 0x1p-64 >= end / sum;)
      end += phase->weights[++s];
    const int64_t size = int64_t(streams[s].size()), k = used[s]++;
    rows.push_back(streams[s][shuffled(size, seed, s * (1ull << 40) + k / size)[k % size]]);
  }
  return rows;
}

/// What a micro-batch's row has to be: inputs, mask, labels.
void expectRow(const MicroBatch &b, int64_t r, const Row &want, const std::string &where) {
  for (int64_t t = 0; t < 4; ++t) {
    const bool given = t < int64_t(want.size());
    EXPECT_EQ(b.blocks[0].as<int64_t>()[4 * r + t], given ? want[t] : 0) << where;
    EXPECT_EQ(b.blocks[1].as<uint8_t>()[4 * r + t], given) << where;
    EXPECT_EQ(b.blocks[3].as<int64_t>()[4 * r + t],
              t + 1 < int64_t(want.size()) ? want[t + 1] : -100)
        << where;
  }
}

/// Files of rising tokens: A has 45, B 81 and C 150, of which C is Megatron's with documents of
/// 1 to 12 tokens.
struct Files {
  TempFolder dir;
  std::vector<Row> a, b, c;

  Files() {
    a = {numbered(45, 0)};
    b = {numbered(81, 50)};
    write(dir / "a.bin", tokenFile(20240520, 1, 45, as<uint16_t>(a)));
    write(dir / "b.bin", tokenFile(20240801, 7, 81, as<uint32_t>(b)));
    std::vector<int32_t> lengths;
    std::vector<int64_t> pointers, documents;
    for (int64_t at = 0, i = 0; at < 150; ++i) {
      const int64_t n = std::min<int64_t>(1 + i * 5 % 12, 150 - at);
      c.push_back(numbered(n, 140 + at));
      documents.push_back(i);
      lengths.push_back(int32_t(n));
      pointers.push_back(2 * at);
      at += n;
    }
    documents.push_back(int64_t(lengths.size()));
    write(dir / "c.bin", bytes(as<uint16_t>(c)));
    write(dir / "c.idx", std::string("MMIDIDX\0\0\1\0\0\0\0\0\0\0\x8", 18) +
                             bytes(std::vector<uint64_t>{lengths.size(), documents.size()}) +
                             bytes(lengths) + bytes(pointers) + bytes(documents));
  }
  static Row numbered(int64_t n, int64_t first) {
    Row row(n);
    std::iota(row.begin(), row.end(), first);
    return row;
  }
  template <typename T> static std::vector<T> as(const std::vector<Row> &documents) {
    std::vector<T> all;
    for (const Row &document : documents)
      all.insert(all.end(), document.begin(), document.end());
    return all;
  }
};

struct Case {
  std::string name;
  DataOptions options;
  std::vector<Stream> streams;
  std::vector<Phase> phases;
};

std::vector<Case> cases(const Files &f) {
  auto path = [&](const char *name) { return f.dir / name; };
  const std::string a = path("a.bin"), b = path("b.bin"), c = path("c.idx");
  const Stream A = windows(f.a, false), B = windows(f.b, false), C = windows(f.c, false);
  Stream all = A;
  all.insert(all.end(), B.begin(), B.end());
  all.insert(all.end(), C.begin(), C.end());
  Stream patterned = A;
  patterned.insert(patterned.end(), B.begin(), B.end());
  // Steps of 12 rows: batch x accumulation x ranks.
  return {
      {"one", {a, {}, false, 3}, {A}, {{0, {1}}}},
      {"a list", {a + "," + b + "," + c, {}, false, 4}, {all}, {{0, {1}}}},
      {"a pattern", {path("[ab].b*"), {}, false, 4}, {patterned}, {{0, {1}}}},
      {"weights", {a + ":0.7," + b + ":0.3", {}, false, 5}, {A, B}, {{0, {0.7, 0.3}}}},
      {"three weights",
       {b + ":3," + c + ":0," + a + ":1", {}, false, 6},
       {B, C, A},
       {{0, {3, 0, 1}}}},
      {"other weights later",
       {a + ":0.9," + c + ":0.1", {"0.5,0.5@2", "0,1@5"}, false, 7},
       {A, C},
       {{0, {0.9, 0.1}}, {24, {0.5, 0.5}}, {60, {0, 1}}}},
      {"other weights at a row",
       {a + ":0.9," + c + ":0.1", {"0.5,0.5@17rows", "0,1@5"}, false, 7},
       {A, C},
       {{0, {0.9, 0.1}}, {17, {0.5, 0.5}}, {60, {0, 1}}}},
      {"documents", {c, {}, true, 8}, {windows(f.c, true)}, {{0, {1}}}},
      {"documents of some",
       {c + ":2," + a + ":1", {}, true, 9},
       {windows(f.c, true), windows(f.a, true)},
       {{0, {2, 1}}}},
  };
}
} // namespace

TEST(DataOrder, IsThatOfListsUnderEveryPlan) {
  Files files;
  const struct {
    int64_t batch, accumulate, shards;
  } plans[] = {{12, 1, 1}, {1, 12, 1}, {1, 1, 12}, {2, 3, 2}, {3, 2, 2}, {4, 1, 3}};
  for (const Case &c : cases(files)) {
    const auto want = firstRows(120, c.streams, c.phases, c.options.seed);
    for (auto [batch, accumulate, shards] : plans) {
      LanguageModel m(batch);
      for (int64_t shard = 0; shard < shards; ++shard) {
        auto data = openData(c.options, m.p, accumulate, shards);
        for (int64_t step = 0; step < 10; ++step)
          for (int64_t k = 0; k < accumulate; ++k) {
            MicroBatch b(m.p);
            const int64_t micro = k * shards + shard;
            data->read(12 * step, micro, b);
            for (int64_t r = 0; r < batch; ++r)
              expectRow(b, r, want[12 * step + micro * batch + r], c.name);
          }
      }
    }
  }
}

TEST(DataOrder, ResumesAtEveryRow) {
  Files files;
  LanguageModel m(2);
  for (const Case &c : cases(files)) {
    const auto want = firstRows(122, c.streams, c.phases, c.options.seed);
    for (int64_t row = 0; row <= 120; ++row) {
      MicroBatch b(m.p);
      openData(c.options, m.p, 3, 2)->read(row, 0, b);
      expectRow(b, 0, want[row], c.name);
      expectRow(b, 1, want[row + 1], c.name);
    }
  }
}

TEST(DataOrder, EveryTokenOnceAnEpochOfItsFile) {
  Files files;
  LanguageModel m(1);
  auto data = openData({files.dir / "c.idx:0.4," + files.dir / "a.bin:0.6", {}, true, 1}, m.p, 1);
  std::multiset<int64_t> ofA, ofC;
  // A has 11 windows of 4 labels, the first token is none.
  int64_t rows = 0;
  for (; ofA.size() < 3 * 44; ++rows) {
    MicroBatch b(m.p);
    data->read(rows, 0, b);
    for (int64_t label : ints(b, 3, 4))
      if (label != -100)
        (label < 50 ? ofA : ofC).insert(label);
  }
  EXPECT_NEAR(double(rows), 33 / 0.6, 2);
  for (int64_t token = 1; token < 45; ++token)
    EXPECT_EQ(ofA.count(token), 3u) << token;
  for (int64_t token : ofC)
    EXPECT_LE(ofC.count(token), 1u); // not yet an epoch
}

TEST(Mixture, NumbersRowsOfEachStreamThrough) {
  std::mt19937 gen(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<double> weights(1 + gen() % 5);
    double sum = 0;
    for (double &w : weights)
      sum += w = gen() % 4 ? std::pow(10.0, -double(gen() % 6)) : 0;
    weights.back() += sum == 0;
    sum += sum == 0;
    const Mixture mixture({{0, weights}}, round);
    std::vector<int64_t> count(weights.size());
    for (int64_t row = 0; row < 8000; ++row) {
      const auto [stream, number] = mixture.at(row);
      ASSERT_EQ(number, count[stream]++);
      for (size_t s = 0; row % 100 == 99 && s < weights.size(); ++s)
        ASSERT_NEAR(double(count[s]), weights[s] / sum * double(row + 1), 5);
    }
    // Far on, where nobody counts: a stream's next row has the next number.
    std::vector<int64_t> next(weights.size(), -1);
    for (int64_t row = int64_t(1) << 55; row < (int64_t(1) << 55) + 100; ++row) {
      const auto [stream, number] = mixture.at(row);
      if (next[stream] >= 0)
        ASSERT_EQ(number, next[stream]);
      next[stream] = number + 1;
      ASSERT_NEAR(double(number), weights[stream] / sum * double(row), 40);
    }
  }
}

TEST(DataNames, WrongOnesAreRefused) {
  Files files;
  LanguageModel m;
  const std::string a = files.dir / "a.bin", b = files.dir / "b.bin";
  auto expect = [&](const std::string &path, std::vector<std::string> mix,
                    const std::string &what) {
    const std::string said = errorOf(DataOptions{path, std::move(mix), false, 0}, m.p);
    EXPECT_NE(said.find(what), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  };
  expect(a + ":0.5," + b, {}, "gives '" + a + "' a weight and '" + b + "' none");
  expect(a + ":-1," + b + ":2", {}, "has a weight that is not a number of 0 or more");
  expect(a + ":0," + b + ":0", {}, "has weights whose sum is 0");
  expect(a + ",," + b, {}, "has an empty name");
  expect(a + ",", {}, "has an empty name");
  expect("", {}, "--data is empty");
  expect(a + "," + files.dir / "none.bin", {}, "/none.bin' does not exist");
  expect(files.dir / "none*", {}, "and no file matches it");
  expect(a, {"1@5"}, "");
  expect(a, {"1,1@5"}, "--mix '1,1@5' has 2 weights, --data has 1 stream; give its files weights");
  const std::string two = a + ":1," + b + ":1";
  expect(two, {"1,1"}, "--mix has '1,1'; use WEIGHT,WEIGHT@STEPS");
  expect(two, {"1,1@rows"}, "use WEIGHT,WEIGHT@STEPS");
  expect(two, {"1,1@0"}, "use WEIGHT,WEIGHT@STEPS");
  expect(two, {"1,1@99999999999999999999"}, "use WEIGHT,WEIGHT@STEPS");
  expect(two, {"1,x@3"}, "--mix '1,x@3' has a weight that is not a number");
  expect(two, {"1,1,1@3"}, "has 3 weights, --data has 2 streams");
  expect(two, {"1,1@3", "1,0@3"},
         "--mix '1,0@3' begins at row 6, and the one before it at row 6; use");
}

TEST(DataNames, ARunWithOtherRowsAStepGoesOnWithAMixOfRowsAlone) {
  const DataOptions steps{"", {"1,1@9rows", "1,0@3"}, false, 0}, rows{"", {"1,1@9rows"}, false, 0};
  checkMixOfSteps(steps, 4, 8, 8);
  checkMixOfSteps(rows, 4, 8, 16);
  try {
    checkMixOfSteps(steps, 4, 8, 16);
    FAIL() << "no error";
  } catch (const InputError &e) {
    EXPECT_STREQ(e.what(), "--mix '1,0@3' counts steps, 4 steps were 8 rows and are 16 now; use as "
                           "many rows a step, or @ROWSrows in --mix");
  }
}

TEST(DataNames, AFileMayHaveACommaOrAColonInItsName) {
  TempFolder dir;
  LanguageModel m;
  for (const char *name : {"a,b", "a:5", "u16:c"}) {
    write(dir / name, "abcdefghijklm");
    EXPECT_EQ(errorOf(dir / name, m.p), "") << name;
  }
}
