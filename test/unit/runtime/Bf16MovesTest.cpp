//===- Bf16MovesTest.cpp - Copies, sums and kernels of bf16 ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The float kernels are tested against plain loops in double; those on bf16
// against them on the same values.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/elementwise.h"
#include "moire/rt/tensor.h"

#include <cstring>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Scaled {
  MOIRE_FUNCTOR run(float a, float b, float s, float &y, float &z) {
    y = a * b + s;
    z = a - b;
  }
};
} // namespace

TEST(Bf16Elementwise, LoadsFloatsAndStoresRounded) {
  for (int threads : {1, 3})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {7, 13}, {131, 257}}) {
      Context ctx(threads);
      Rounded a(rows * (cols + 5), 1), s(rows, 2);
      Floats b = random(cols, 3), z(rows * cols);
      std::vector<bf16> y(rows * cols * 2);
      launch<Scaled>(ctx, {rows, cols}, in<1>(a.data(), {cols + 5}), in<1>(b.data(), {0}),
                     in<0>(s.data(), {1}), out<kStrided>(y.data(), {2 * cols, 2}),
                     out<1>(z.data(), {cols}));
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j) {
          const float x = a.wide[i * (cols + 5) + j], sum = x * b[j] + s.wide[i];
          // A product and a sum may be one instruction.
          ASSERT_NEAR(float(y[2 * (i * cols + j)]), sum, std::fabs(sum) / 256 + 1e-6f);
          ASSERT_EQ(z[i * cols + j], x - b[j]);
        }
    }
}

TEST(Bf16Tensor, ConvertsAndMoves) {
  const int64_t rows = 67, cols = 41;
  Context ctx(2);
  Floats x = random(rows * cols, 1, -100, 100), back(rows * cols);
  std::vector<bf16> y(rows * cols), t(rows * cols), s(10 * 7), f(33);
  convert(ctx, rows * cols, x.data(), y.data());
  convert(ctx, rows * cols, y.data(), back.data());
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i].bits, bf16(x[i]).bits);
    ASSERT_EQ(back[i], float(y[i]));
  }
  transpose(ctx, {rows, cols}, {1, 0}, y.data(), t.data());
  copyStrided(ctx, {10, 7}, y.data() + 2 * cols + 3, {3 * cols, 2}, s.data(), {7, 1});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      ASSERT_EQ(t[j * rows + i].bits, y[i * cols + j].bits);
  for (int64_t i = 0; i < 10; ++i)
    for (int64_t j = 0; j < 7; ++j)
      ASSERT_EQ(s[i * 7 + j].bits, y[(2 + 3 * i) * cols + 3 + 2 * j].bits);
  fill(ctx, 33, bf16(2.5f), f.data());
  for (bf16 v : f)
    ASSERT_EQ(float(v), 2.5f);
  copy(ctx, rows * cols, y.data(), t.data());
  ASSERT_EQ(std::memcmp(t.data(), y.data(), t.size() * 2), 0);
}

TEST(Bf16Tensor, SumsInFloat) {
  for (uint32_t over : {1u, 2u, 3u, 5u}) {
    Context ctx(2);
    Rounded x(300 * 21 * 17, 1);
    Reduce r{{300, 21, 17}, over};
    int64_t n = 1;
    for (int d = 0; d < 3; ++d)
      n *= over >> d & 1 ? 1 : r.dims[d];
    Floats want = random(n, 2), got = want;
    for (float beta : {1.0f, 0.0f}) {
      r.beta = beta;
      reduce(ctx, ReduceKind::sum, r, x.wide.data(), want.data());
      reduce(ctx, ReduceKind::sum, r, x.data(), got.data());
      expectNear(got, want, 1e-5);
    }
  }
}

TEST(Bf16Rope, RotatesInFloat) {
  for (bool interleaved : {false, true})
    for (bool inverse : {false, true}) {
      Context ctx(2);
      Rope r{2, 3, 11, 16, interleaved, inverse};
      Rounded x(2 * 3 * 11 * 16, 1);
      Floats c = random(11 * 8, 2), s = random(11 * 8, 3), y(x.wide.size());
      std::vector<bf16> yb(y.size());
      rope(ctx, r, x.wide.data(), c.data(), s.data(), y.data());
      rope(ctx, r, x.data(), c.data(), s.data(), yb.data());
      expectRounded(yb, y);
    }
}
