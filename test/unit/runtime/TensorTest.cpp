//===- TensorTest.cpp - Data movement, indexing, reductions ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/tensor.h"

#include <algorithm>
#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

TEST(Tensor, TransposeOfEveryPermutation) {
  for (Ints dims : {Ints{2, 3, 5, 7}, Ints{1, 67, 2, 70}, Ints{3, 1, 33, 65}}) {
    Context ctx(2);
    int64_t n = dims[0] * dims[1] * dims[2] * dims[3];
    Floats x = random(n, 1);
    std::vector<int> perm = {0, 1, 2, 3};
    do {
      Floats y(n, NAN);
      transpose<float>(ctx, dims, {perm[0], perm[1], perm[2], perm[3]}, x.data(), y.data());
      int64_t c[4], at = 0;
      for (c[0] = 0; c[0] < dims[perm[0]]; ++c[0])
        for (c[1] = 0; c[1] < dims[perm[1]]; ++c[1])
          for (c[2] = 0; c[2] < dims[perm[2]]; ++c[2])
            for (c[3] = 0; c[3] < dims[perm[3]]; ++c[3]) {
              int64_t from[4];
              for (int i = 0; i < 4; ++i)
                from[perm[i]] = c[i];
              int64_t k = ((from[0] * dims[1] + from[1]) * dims[2] + from[2]) * dims[3] + from[3];
              ASSERT_EQ(y[at++], x[k]);
            }
    } while (std::next_permutation(perm.begin(), perm.end()));
  }
}

TEST(Tensor, StridedCopiesMakeSlicesBroadcastsAndReversals) {
  Context ctx(2);
  Floats x(300 * 200);
  std::iota(x.begin(), x.end(), 0.0f);
  // x[10:110:2, 5:155]
  Floats y(50 * 150, NAN);
  copyStrided<float>(ctx, {50, 150}, x.data() + 10 * 200 + 5, {400, 1}, y.data(), {150, 1});
  EXPECT_EQ(y[3 * 150 + 7], x[16 * 200 + 12]);
  // A row broadcast over 40 rows, a column over 40 columns.
  Floats z(40 * 60, NAN), w(60 * 40, NAN);
  copyStrided<float>(ctx, {40, 60}, x.data(), {0, 1}, z.data(), {60, 1});
  copyStrided<float>(ctx, {60, 40}, x.data(), {1, 0}, w.data(), {40, 1});
  EXPECT_EQ(z[39 * 60 + 59], 59.0f);
  EXPECT_EQ(w[59 * 40 + 39], 59.0f);
  // Reversed columns.
  copyStrided<float>(ctx, {40, 60}, x.data() + 59, {200, -1}, z.data(), {60, 1});
  EXPECT_EQ(z[2 * 60 + 1], x[2 * 200 + 58]);
  // The pull-back of a slice adds.
  Floats g = x;
  addStrided(ctx, {50, 150}, y.data(), {150, 1}, g.data() + 2005, {400, 1});
  EXPECT_EQ(g[2005], 2 * x[2005]);
  EXPECT_EQ(g[0], x[0]);
}

TEST(Tensor, FillIotaConvertCumulativeSum) {
  Context ctx(2);
  std::vector<int64_t> v(50000);
  iota<int64_t>(ctx, 50000, 3, 2, v.data());
  EXPECT_EQ(v[49999], 3 + 2 * 49999);
  Floats f(50000);
  convert<int64_t, float>(ctx, 50000, v.data(), f.data());
  EXPECT_EQ(f[10], 23.0f);
  fill<float>(ctx, 50000, 7.0f, f.data());
  EXPECT_EQ(f[49999], 7.0f);
  std::vector<int64_t> x = {1, 2, 3, 4, 5, 6}, y(6);
  cumulativeSum<int64_t>(ctx, 1, 3, 2, false, false, x.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{1, 2, 4, 6, 9, 12}));
  cumulativeSum<int64_t>(ctx, 1, 3, 2, true, true, x.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{8, 10, 5, 6, 0, 0}));
}

TEST(Tensor, GatherAndItsGradientWithDuplicates) {
  const int64_t outer = 3, axis = 11, inner = 130, count = 40;
  Gather g{outer, axis, inner, count};
  Floats x = random(outer * axis * inner, 1), dy = random(outer * count * inner, 2);
  std::vector<int64_t> ids = randomInts(count, axis, 3);
  ids[0] = -1; // counts from the end
  Floats first;
  for (int threads : {1, 2, 3}) {
    Context ctx(threads);
    Floats y(dy.size(), NAN), dx(x.size(), NAN);
    gather<float>(ctx, g, x.data(), ids.data(), y.data());
    gatherGrad(ctx, g, dy.data(), ids.data(), dx.data());
    Floats want(x.size());
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t c = 0; c < count; ++c)
        for (int64_t i = 0; i < inner; ++i) {
          int64_t k = ids[c] < 0 ? ids[c] + axis : ids[c];
          ASSERT_EQ(y[(o * count + c) * inner + i], x[(o * axis + k) * inner + i]);
          want[(o * axis + k) * inner + i] += dy[(o * count + c) * inner + i];
        }
    EXPECT_EQ(dx, want); // the same order of addition
  }
}

TEST(Tensor, AnIndexOutOfRangeIsNamed) {
  Context ctx(2);
  Floats x(10), y(3);
  std::vector<int64_t> ids = {1, 10, 2};
  try {
    gather<float>(ctx, {1, 10, 1, 3}, x.data(), ids.data(), y.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "gather index 10 at position 1 is outside 0..9");
  }
}

TEST(Tensor, ScatterGatherElementsAndND) {
  Context ctx(2);
  std::vector<int64_t> x = {10, 11, 12, 13, 14, 15}, y(4);
  // Along axis 1 of [2, 3]; indices [2, 2].
  std::vector<int64_t> ids = {2, 0, 1, 1};
  gatherElements<int64_t>(ctx, {{2, 3}, {2, 2}, 1}, x.data(), ids.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{12, 10, 14, 14}));
  // Along axis 0, with fewer columns than the data.
  gatherElements<int64_t>(ctx, {{2, 3}, {2, 2}, 0}, x.data(),
                          std::vector<int64_t>{1, 0, 0, 1}.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{13, 11, 10, 14}));
  std::vector<int64_t> u = {1, 2, 3, 4}, t = x;
  scatterElements<int64_t>(ctx, {{2, 3}, {2, 2}, 1}, u.data(), ids.data(), t.data(), true);
  EXPECT_EQ(t, (std::vector<int64_t>{12, 11, 13, 13, 21, 15}));
  t = x;
  scatterElements<int64_t>(ctx, {{2, 3}, {2, 2}, 1}, u.data(), ids.data(), t.data());
  EXPECT_EQ(t, (std::vector<int64_t>{2, 11, 1, 13, 4, 15}));
  t = x;
  scatter<int64_t>(ctx, {1, 3, 2, 2}, u.data(), std::vector<int64_t>{2, 0}.data(), t.data());
  EXPECT_EQ(t, (std::vector<int64_t>{3, 4, 12, 13, 1, 2}));
  // ND: x as [3, 2], two index tuples of depth 2.
  std::vector<int64_t> two(2);
  gatherND<int64_t>(ctx, {1, 2, 1, {3, 2}}, x.data(), std::vector<int64_t>{2, 0, 0, 1}.data(), two.data());
  EXPECT_EQ(two, (std::vector<int64_t>{14, 11}));
  t = x;
  scatterND<int64_t>(ctx, {1, 2, 2, {3}}, u.data(), std::vector<int64_t>{1, 1}.data(), t.data(), true);
  EXPECT_EQ(t, (std::vector<int64_t>{10, 11, 16, 19, 14, 15}));
}

TEST(Tensor, TopKSortsAndPrefersLowerIndices) {
  Context ctx(2);
  for (int64_t k : {1, 3, 30, 64}) {
    const int64_t outer = 5, axis = 64, inner = 3;
    std::vector<int64_t> raw = randomInts(outer * axis * inner, 9, 4); // many ties
    Floats x(raw.begin(), raw.end()), values(outer * k * inner);
    std::vector<int64_t> ids(values.size());
    for (bool largest : {true, false}) {
      topK<float>(ctx, {outer, axis, inner, k, largest}, x.data(), values.data(), ids.data());
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < inner; ++i) {
          std::vector<int64_t> order(axis);
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            float va = x[(o * axis + a) * inner + i], vb = x[(o * axis + b) * inner + i];
            return largest ? va > vb : va < vb;
          });
          for (int64_t j = 0; j < k; ++j) {
            ASSERT_EQ(ids[(o * k + j) * inner + i], order[j]);
            ASSERT_EQ(values[(o * k + j) * inner + i], x[(o * axis + order[j]) * inner + i]);
          }
        }
    }
  }
}

TEST(Tensor, ReduceOverEverySetOfDimensions) {
  for (Ints dims : {Ints{3, 4, 5, 6}, Ints{2, 70, 1, 300}, Ints{130, 2, 3, 1}})
    for (uint32_t over = 0; over < 16; ++over) {
      Context ctx(2);
      int64_t n = dims[0] * dims[1] * dims[2] * dims[3], outputs = 1;
      for (int i = 0; i < 4; ++i)
        outputs *= (over >> i) & 1 ? 1 : dims[i];
      Floats x = random(n, 1, 0.9f, 1.1f);
      Doubles sum(outputs), most(outputs, -1e30), least(outputs, 1e30), product(outputs, 1);
      for (int64_t i = 0; i < n; ++i) {
        int64_t rest = i, at = 0, step = 1;
        for (int d = 3; d >= 0; --d) {
          if (!((over >> d) & 1)) {
            at += rest % dims[d] * step;
            step *= dims[d];
          }
          rest /= dims[d];
        }
        sum[at] += x[i];
        product[at] *= x[i];
        most[at] = std::max(most[at], double(x[i]));
        least[at] = std::min(least[at], double(x[i]));
      }
      Floats y(outputs, NAN);
      Reduce r{dims, over};
      reduce<float>(ctx, ReduceKind::sum, r, x.data(), y.data());
      expectNear(y, sum, 1e-6);
      r.beta = 1;
      reduce<float>(ctx, ReduceKind::sum, r, x.data(), y.data());
      for (double &v : sum)
        v *= 2;
      expectNear(y, sum, 1e-6);
      r.beta = 0;
      reduce<float>(ctx, ReduceKind::max, r, x.data(), y.data());
      expectNear(y, most, 0);
      reduce<float>(ctx, ReduceKind::min, r, x.data(), y.data());
      expectNear(y, least, 0);
      reduce<float>(ctx, ReduceKind::prod, r, x.data(), y.data());
      expectNear(y, product, 2e-3);
    }
}

TEST(Tensor, ReduceIsTheSameForAnyThreads) {
  Floats x = random(1000 * 333, 1), a(333), b(333), c(1000), d(1000);
  Context one(1), two(2);
  reduce<float>(one, ReduceKind::sum, {{1000, 333}, 1}, x.data(), a.data());
  reduce<float>(two, ReduceKind::sum, {{1000, 333}, 1}, x.data(), b.data());
  reduce<float>(one, ReduceKind::sum, {{1000, 333}, 2}, x.data(), c.data());
  reduce<float>(two, ReduceKind::sum, {{1000, 333}, 2}, x.data(), d.data());
  EXPECT_EQ(a, b);
  EXPECT_EQ(c, d);
}

TEST(Tensor, ArgReduce) {
  Context ctx(1);
  Floats x = {1, 5, 5, 0, 0, 7};
  std::vector<int64_t> y(2);
  argReduce<float>(ctx, 2, 3, 1, true, false, x.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{1, 2}));
  argReduce<float>(ctx, 2, 3, 1, false, true, x.data(), y.data());
  EXPECT_EQ(y, (std::vector<int64_t>{0, 1}));
}

TEST(Tensor, RopeBothFormsAndItsInverse) {
  Context ctx(2);
  for (bool interleaved : {false, true})
    for (bool perBatch : {false, true}) {
      Rope r{2, 3, 50, 34};
      r.interleaved = interleaved;
      r.tableBatchStride = perBatch ? 50 * 17 : 0;
      Floats x = random(2 * 3 * 50 * 34, 1), angle = random(2 * 50 * 17, 2, -3, 3);
      Floats c(angle.size()), s(angle.size()), y(x.size()), back(x.size());
      for (size_t i = 0; i < angle.size(); ++i) {
        c[i] = std::cos(angle[i]);
        s[i] = std::sin(angle[i]);
      }
      rope(ctx, r, x.data(), c.data(), s.data(), y.data());
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t h = 0; h < 3; ++h)
          for (int64_t i = 0; i < 50; ++i)
            for (int64_t d = 0; d < 17; ++d) {
              int64_t row = ((b * 3 + h) * 50 + i) * 34, t = b * r.tableBatchStride + i * 17 + d;
              int64_t p = interleaved ? 2 * d : d, q = interleaved ? 2 * d + 1 : d + 17;
              ASSERT_NEAR(y[row + p], double(x[row + p]) * c[t] - double(x[row + q]) * s[t], 1e-6);
              ASSERT_NEAR(y[row + q], double(x[row + q]) * c[t] + double(x[row + p]) * s[t], 1e-6);
            }
      r.inverse = true;
      rope(ctx, r, y.data(), c.data(), s.data(), back.data());
      expectNear(back, x, 1e-6);
      rope(ctx, r, y.data(), c.data(), s.data(), y.data());
      EXPECT_EQ(y, back);
    }
}
