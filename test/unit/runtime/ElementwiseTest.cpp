//===- ElementwiseTest.cpp - launch() over strided operands ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/elementwise.h"

#include <array>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct AddBoth {
  MOIRE_FUNCTOR run(float a, float b, float s, float &sum, float &product) {
    sum = a + b * s;
    product = a * b;
  }
};
struct Select {
  MOIRE_FUNCTOR run(bool m, int64_t id, float a, double d, float &y, bool &flag,
                    int64_t &next) {
    y = m ? a : static_cast<float>(d);
    flag = !m && id > 2;
    next = id + 1;
  }
};
struct CausalMask {
  MOIRE_FUNCTOR run(int64_t i, int64_t j, bool &m) { m = j <= i; }
};
struct AddIndex {
  MOIRE_FUNCTOR run(float a, int64_t i, float &y) { y = a + float(i); }
};
struct Copy {
  MOIRE_FUNCTOR run(float a, float &y) { y = a; }
};
} // namespace

TEST(Elementwise, RowsOfAWiderMatrixColumnBroadcastAndScalar) {
  for (int threads : {1, 2, 3})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {7, 13}, {301, 257}}) {
      Context ctx(threads);
      Floats a = random(rows * (cols + 5), 1), b = random(cols, 2), s = {0.5f};
      Floats sum(rows * cols), product(rows * cols);
      launch<AddBoth>(ctx, {rows, cols}, in<1>(a.data(), {cols + 5}),
                      in<1>(b.data(), {0}), in<0>(s.data()), out<1>(sum.data(), {cols}),
                      out<1>(product.data(), {cols}));
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j) {
          float x = a[i * (cols + 5) + j];
          ASSERT_EQ(sum[i * cols + j], x + b[j] * 0.5f);
          ASSERT_EQ(product[i * cols + j], x * b[j]);
        }
    }
}

TEST(Elementwise, MixedTypesInOneKernel) {
  Context ctx(2);
  const int64_t n = 40003;
  std::vector<uint8_t> m(n), flag(n);
  std::vector<int64_t> id = randomInts(n, 6, 3), next(n);
  Floats a = random(n, 4), y(n);
  Doubles d(n);
  for (int64_t i = 0; i < n; ++i) {
    m[i] = i % 3 == 0;
    d[i] = i * 0.25;
  }
  launch<Select>(ctx, {n}, in<1>(m.data()), in<1>(id.data()), in<1>(a.data()),
                 in<1>(d.data()), out<1>(y.data()), out<1>(flag.data()),
                 out<1>(next.data()));
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(y[i], m[i] ? a[i] : float(d[i]));
    ASSERT_EQ(flag[i], uint8_t(!m[i] && id[i] > 2));
    ASSERT_EQ(next[i], id[i] + 1);
  }
}

TEST(Elementwise, IndexOperandsAreCoordinates) {
  Context ctx(2);
  const int64_t n = 211;
  std::vector<uint8_t> m(3 * n * n);
  launch<CausalMask>(ctx, {3, n, n}, index(1), index(2), out<1>(m.data(), {n * n, n}));
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        ASSERT_EQ(m[(b * n + i) * n + j], j <= i);
}

TEST(Elementwise, StridedInnerDimensionAndSixDims) {
  Context ctx(2);
  const int64_t d[6] = {2, 3, 4, 5, 6, 7};
  Floats a = random(2 * 3 * 4 * 5 * 6 * 7, 5), y(a.size());
  // Reads the transpose of the last two dimensions.
  launch<Copy>(ctx, {2, 3, 4, 5, 7, 6},
               in<kStrided>(a.data(), {2520, 840, 210, 42, 1, 7}),
               out<1>(y.data(), {2520, 840, 210, 42, 6}));
  for (int64_t o = 0; o < d[0] * d[1] * d[2] * d[3]; ++o)
    for (int64_t i = 0; i < 7; ++i)
      for (int64_t j = 0; j < 6; ++j)
        ASSERT_EQ(y[o * 42 + i * 6 + j], a[o * 42 + j * 7 + i]);
}

TEST(Elementwise, InPlaceAndThreadsDoNotChangeBits) {
  const int64_t n = 100003;
  Floats x = random(n, 6), b = random(n, 7), s = {0.3f};
  Floats one = x, two = x, p1(n), p2(n);
  Context c1(1), c2(2);
  launch<AddBoth>(c1, {n}, in<1>(one.data()), in<1>(b.data()), in<0>(s.data()),
                  out<1>(one.data()), out<1>(p1.data()));
  launch<AddBoth>(c2, {n}, in<1>(two.data()), in<1>(b.data()), in<0>(s.data()),
                  out<1>(two.data()), out<1>(p2.data()));
  EXPECT_EQ(one, two);
  EXPECT_EQ(p1, p2);
  EXPECT_EQ(one[5], x[5] + b[5] * 0.3f);
}

// Rows past the count keep what they hold, whether the row is the innermost dimension,
// several indices of it or a dimension of its own.
TEST(Elementwise, OnlyFilledRowsAreComputed) {
  for (int threads : {1, 3})
    for (auto [rows, width] : {std::pair<int64_t, int64_t>{6, 1}, {40, 24}, {300, 257}})
      for (int32_t count : {0, 1, 5, int(rows)}) {
        Context ctx(threads);
        Floats x = random(rows * width, 1), joined(rows * width, NAN), apart = joined;
        launch<Copy>(ctx, filled({rows * width}, &count, rows), in<1>(x.data()),
                     out<1>(joined.data()));
        Floats wide = random(rows * (width + 3), 2);
        launch<Copy>(ctx, filled({rows, width}, &count, rows), in<1>(wide.data(), {width + 3}),
                     out<1>(apart.data(), {width}));
        for (int64_t i = 0; i < rows * width; ++i)
          if (i / width < count) {
            ASSERT_EQ(joined[i], x[i]);
            ASSERT_EQ(apart[i], wide[i / width * (width + 3) + i % width]);
          } else {
            ASSERT_TRUE(std::isnan(joined[i]) && std::isnan(apart[i]));
          }
      }
}

// Parts of the rows, each from a row that only memory knows: other rows keep what they hold,
// and coordinates are those of the whole.
TEST(Elementwise, RowsFromAFirstOneAreComputed) {
  for (int threads : {1, 3})
    for (auto [rows, each, width] :
         {std::array<int64_t, 3>{6, 1, 1}, {40, 1, 24}, {300, 1, 257}, {7, 3, 5}, {10, 4, 8}})
      for (int32_t first : {0, 1, 3, 5, int(rows)})
        for (int32_t count : {0, 1, 5, 6, int(rows)}) {
          if (first > count)
            continue;
          Context ctx(threads);
          const std::vector<int32_t> range = {first, count};
          const int32_t *f = range.data(), *c = f + 1;
          const int64_t n = rows * each, size = n * width; // `each` indices a row
          Floats x = random(size, 1), wide = random(n * (width + 3), 2);
          Floats joined(size, NAN), apart = joined, numbered = joined, flat = joined;
          std::vector<bf16> narrow(size, bf16(NAN));
          launch<Copy>(ctx, filled({size}, f, c, rows), in<1>(x.data()), out<1>(joined.data()));
          launch<Copy>(ctx, filled({n, width}, f, c, rows), in<1>(x.data(), {width}),
                       out<1>(narrow.data(), {width})); // becomes one dimension on a GPU
          launch<Copy>(ctx, filled({n, width}, f, c, rows), in<1>(wide.data(), {width + 3}),
                       out<1>(apart.data(), {width}));
          launch<AddIndex>(ctx, filled({n, width}, f, c, rows), in<1>(x.data(), {width}), index(0),
                           out<1>(numbered.data(), {width}));
          launch<AddIndex>(ctx, filled({size}, f, c, rows), in<1>(x.data()), index(0),
                           out<1>(flat.data()));
          for (int64_t i = 0; i < size; ++i) {
            const int64_t at = i / width, row = at / each;
            if (first <= row && row < count) {
              ASSERT_EQ(joined[i], x[i]);
              ASSERT_EQ(narrow[i].bits, bf16(x[i]).bits);
              ASSERT_EQ(apart[i], wide[at * (width + 3) + i % width]);
              ASSERT_EQ(numbered[i], x[i] + float(at));
              ASSERT_EQ(flat[i], x[i] + float(i));
            } else {
              ASSERT_TRUE(std::isnan(joined[i]) && std::isnan(float(narrow[i])) &&
                          std::isnan(apart[i]) && std::isnan(numbered[i]) && std::isnan(flat[i]));
            }
          }
        }
}
