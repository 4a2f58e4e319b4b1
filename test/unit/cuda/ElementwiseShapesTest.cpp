//===- ElementwiseShapesTest.cpp - launch() over drawn shapes -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Vectors, tails, rows that start anywhere, merged dimensions, bf16: each
// element against the expression at its coordinates.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/elementwise.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Mix {
  MOIRE_FUNCTOR run(float a, float b, float c, int64_t i, float &y, float &z) {
    y = a * b + c;
    z = a - float(i);
  }
};
std::vector<bf16> narrow(const Floats &x) {
  std::vector<bf16> y;
  for (float v : x)
    y.push_back(bf16(v));
  return y;
}

/// A tensor of the space with gaps: strides of the dimensions but the last, from
/// an offset.
struct Layout {
  int64_t strides[5] = {0}, offset = 0, size = 1;
  Layout(const Space &s, std::mt19937 &gen, bool gaps, bool broadcast) {
    for (int d = s.rank - 1; d >= 0; --d) {
      if (d + 1 < s.rank)
        strides[d] = broadcast && gen() % 2 ? 0 : size;
      size *= s.dims[d];
      size += gaps ? int64_t(gen() % 4) * (gen() % 2 ? 4 : 1) : 0;
    }
    offset = gaps ? gen() % 3 * (gen() % 2 ? 8 : 1) : 0;
  }
  int64_t at(const Space &s, const int64_t *c) const {
    int64_t i = offset + c[s.rank - 1];
    for (int d = 0; d + 1 < s.rank; ++d)
      i += c[d] * strides[d];
    return i;
  }
  template <typename T, int I, bool O> Operand<T, I, O> place(Operand<T, I, O> op) const {
    op.base += offset;
    for (int d = 0; d < 5; ++d)
      op.strides[d] = strides[d];
    return op;
  }
};
} // namespace

TEST(ElementwiseShapes, EveryElementOfDrawnSpaces) {
  Context ctx;
  std::mt19937 gen(11);
  for (int trial = 0; trial < 150; ++trial) {
    model::setOrder(trial % 3);
    Space s({});
    s.rank = 1 + int(gen() % 4);
    for (int d = 0; d < s.rank; ++d)
      s.dims[d] = 1 + gen() % (d + 1 == s.rank ? 70 : 7);
    const bool gaps = trial % 2;
    Layout la(s, gen, gaps, true), lb(s, gen, gaps, true), ly(s, gen, gaps, false),
        lz(s, gen, gaps, false);
    const int64_t room = 64;
    Floats a = random(la.size + room, trial), c = {0.25f};
    std::vector<bf16> b = narrow(random(lb.size + room, trial + 1000));
    std::vector<bf16> y = narrow(random(ly.size + room, 1)), before = y;
    Floats z(lz.size + room, NAN);
    const int axis = int(gen() % s.rank);
    launch<Mix>(ctx, s, la.place(in<1>(a.data())), lb.place(in<1>(b.data())), in<0>(c.data()),
                index(axis), ly.place(out<1>(y.data())), lz.place(out<1>(z.data())));
    std::vector<bool> written(y.size());
    int64_t k[5] = {0};
    for (bool more = true; more;) {
      const float u = a[la.at(s, k)], v = b[lb.at(s, k)];
      ASSERT_EQ(y[ly.at(s, k)].bits, bf16(u * v + 0.25f).bits) << "trial " << trial;
      ASSERT_EQ(z[lz.at(s, k)], u - float(k[axis]));
      written[ly.at(s, k)] = true;
      more = false;
      for (int d = s.rank - 1; d >= 0 && !more; --d) {
        more = ++k[d] < s.dims[d];
        k[d] = more ? k[d] : 0;
      }
    }
    for (size_t i = 0; i < y.size(); ++i) // nothing else
      if (!written[i])
        ASSERT_EQ(y[i].bits, before[i].bits);
  }
  model::setOrder(0);
}

TEST(ElementwiseShapes, DividersDivide) {
  std::mt19937 gen(5);
  for (int i = 0; i < 200; ++i) {
    const uint32_t d = i < 70 ? i + 1 : 1 + gen() % (i % 2 ? 0x7fffffffu : 5000u);
    const device::Divider by(d);
    for (uint32_t n : {0u, 1u, d - 1, d, d + 1, 0x7fffffffu, uint32_t(gen() >> 1)})
      if (n < 0x80000000u)
        ASSERT_EQ(by.divide(n), n / d) << n << " / " << d;
  }
}

// What no test can run: the pieces cover each thread once.
TEST(ElementwiseShapes, SpacesBeyondTwoToThe31AreCut) {
  for (Space s : {Space{(int64_t(1) << 34) + 5}, Space{3, (int64_t(1) << 32) + 1, 7},
                  Space{1, 1 << 20, 1 << 14}, Space{5, 7}}) {
    device::Shape shape(s);
    int64_t covered = 0, total = 1, pieces = 0;
    for (int d = 0; d < s.rank; ++d)
      total *= s.dims[d];
    device::forEachWalk(shape, 4, [&](const device::Walk &w, const int64_t *first) {
      int64_t rows = 1, last = w.inner;
      for (int d = 0; d < w.outerRank; ++d) {
        rows *= w.dims[d].divisor;
        EXPECT_LE(first[d] + w.dims[d].divisor, s.dims[d]);
      }
      EXPECT_LE(first[w.outerRank] + last, s.dims[s.rank - 1]);
      EXPECT_EQ(first[w.outerRank] % 4, 0); // vectors stay aligned
      EXPECT_LT(w.threads, uint32_t(1) << 31);
      EXPECT_EQ(rows * ((last + 3) / 4), w.threads);
      covered += rows * last;
      ++pieces;
    });
    EXPECT_EQ(covered, total);
    EXPECT_EQ(pieces == 1, total < (int64_t(1) << 31));
  }
}
