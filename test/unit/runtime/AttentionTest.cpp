//===- AttentionTest.cpp - Attention against the plain formula ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/attention.h"

#include <random>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Problem {
  Attention a;
  Floats q, k, v, dout;
  std::vector<uint8_t> mask; ///< empty: none
  Floats bias;
};

Problem make(int64_t b, int64_t h, int64_t hkv, int64_t sq, int64_t skv, int64_t d,
           int64_t dv, bool causal) {
  Problem s;
  s.a = {b, h, hkv, sq, skv, d};
  s.a.valueDim = dv;
  s.a.scale = float(1 / std::sqrt(double(d)));
  s.a.causal = causal;
  s.q = random(b * h * sq * d, 1, -2, 2);
  s.k = random(b * hkv * skv * d, 2, -2, 2);
  s.v = random(b * hkv * skv * dv, 3);
  s.dout = random(b * h * sq * dv, 4);
  return s;
}

struct Result {
  Doubles out, lse, dq, dk, dv;
};

/// The definition with the whole score matrix, in double.
Result reference(const Problem &s) {
  const Attention &a = s.a;
  const int64_t D = a.dim, V = a.valueDim, group = a.heads / a.kvHeads;
  Result r;
  r.out.resize(s.dout.size());
  r.lse.resize(a.batch * a.heads * a.queries);
  r.dq.resize(s.q.size());
  r.dk.resize(s.k.size());
  r.dv.resize(s.v.size());
  for (int64_t b = 0; b < a.batch; ++b)
    for (int64_t h = 0; h < a.heads; ++h)
      for (int64_t i = 0; i < a.queries; ++i) {
        int64_t row = (b * a.heads + h) * a.queries + i;
        int64_t kv = (b * a.kvHeads + h / group) * a.keys;
        Doubles p(a.keys, -INFINITY);
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < a.keys; ++j) {
          if (a.causal && j > i + a.causalOffset)
            continue;
          if (!s.mask.empty() &&
              !s.mask[b * a.mask.batch + h * a.mask.head + i * a.mask.query + j * a.mask.key])
            continue;
          double dot = 0;
          for (int64_t d = 0; d < D; ++d)
            dot += double(s.q[row * D + d]) * s.k[(kv + j) * D + d];
          p[j] = dot * a.scale;
          if (!s.bias.empty())
            p[j] += s.bias[b * a.bias.batch + h * a.bias.head + i * a.bias.query + j * a.bias.key];
          most = std::max(most, p[j]);
        }
        if (most == -INFINITY) {
          r.lse[row] = -INFINITY;
          continue;
        }
        for (double &x : p)
          sum += x = std::exp(x - most);
        r.lse[row] = most + std::log(sum);
        double delta = 0;
        for (int64_t j = 0; j < a.keys; ++j) {
          p[j] /= sum;
          for (int64_t d = 0; d < V; ++d)
            r.out[row * V + d] += p[j] * s.v[(kv + j) * V + d];
        }
        for (int64_t d = 0; d < V; ++d)
          delta += s.dout[row * V + d] * r.out[row * V + d];
        for (int64_t j = 0; j < a.keys; ++j) {
          double dp = 0;
          for (int64_t d = 0; d < V; ++d) {
            dp += double(s.dout[row * V + d]) * s.v[(kv + j) * V + d];
            r.dv[(kv + j) * V + d] += p[j] * s.dout[row * V + d];
          }
          double ds = p[j] * (dp - delta) * a.scale;
          for (int64_t d = 0; d < D; ++d) {
            r.dq[row * D + d] += ds * s.k[(kv + j) * D + d];
            r.dk[(kv + j) * D + d] += ds * s.q[row * D + d];
          }
        }
      }
  return r;
}

void check(const Problem &s, int threads = 2) {
  const Result want = reference(s);
  Context ctx(threads);
  Floats out(want.out.size(), NAN), lse(want.lse.size(), NAN);
  Floats dq(want.dq.size(), NAN), dk(want.dk.size(), NAN), dv(want.dv.size(), NAN);
  const uint8_t *mask = s.mask.empty() ? nullptr : s.mask.data();
  const float *bias = s.bias.empty() ? nullptr : s.bias.data();
  attention(ctx, s.a, s.q.data(), s.k.data(), s.v.data(), mask, bias, out.data(),
            lse.data());
  attentionGrad(ctx, s.a, s.q.data(), s.k.data(), s.v.data(), mask, bias,
                out.data(), lse.data(), s.dout.data(), dq.data(), dk.data(),
                dv.data());
  for (size_t i = 0; i < lse.size(); ++i) {
    if (std::isinf(want.lse[i]))
      ASSERT_EQ(lse[i], -INFINITY) << "at " << i;
    else
      ASSERT_NEAR(lse[i], want.lse[i], 1e-5) << "at " << i;
  }
  expectNear(out, want.out, 2e-5);
  expectNear(dq, want.dq, 2e-5);
  expectNear(dk, want.dk, 5e-5);
  expectNear(dv, want.dv, 5e-5);
}
} // namespace

TEST(Attention, PlainAndCausalOddSizes) {
  for (bool causal : {false, true}) {
    check(make(2, 3, 3, 1, 1, 8, 8, causal));
    check(make(2, 3, 3, 10, 10, 8, 8, causal));
    check(make(1, 2, 2, 77, 77, 64, 64, causal));
    check(make(1, 1, 1, 150, 150, 33, 33, causal), 1);
    check(make(1, 2, 2, 73, 145, 24, 40, causal));
  }
}

TEST(Attention, ManyKeyBlocks) {
  Problem s = make(1, 2, 1, 40, 1100, 16, 16, false);
  check(s);
  s.a.causal = true;
  s.a.causalOffset = 1060;
  check(s);
}

TEST(Attention, GroupedQueryHeads) {
  check(make(2, 8, 2, 37, 37, 16, 16, true));
  check(make(1, 6, 1, 20, 50, 16, 16, false));
}

TEST(Attention, CausalOffsetBelowZeroHidesWholeRows) {
  Problem s = make(1, 2, 2, 90, 90, 16, 16, true);
  s.a.causalOffset = -5;
  check(s);
}

TEST(Attention, BoolMaskOfEveryBroadcastForm) {
  std::mt19937 gen(7);
  for (int form = 0; form < 5; ++form) {
    Problem s = make(2, 3, 3, 80, 75, 16, 16, form == 4);
    const int64_t b = 2, h = 3, q = 80, k = 75;
    const int64_t hasB = form != 1, hasH = form == 0 || form == 2, hasQ = form != 3;
    s.a.mask.query = hasQ * k;
    s.a.mask.head = hasH * (hasQ ? q * k : k);
    s.a.mask.batch = hasB * (hasH ? h : 1) * (hasQ ? q : 1) * k;
    s.mask.resize((hasB ? b : 1) * (hasH ? h : 1) * (hasQ ? q : 1) * k);
    for (uint8_t &m : s.mask)
      m = gen() % 3 != 0;
    check(s);
  }
}

TEST(Attention, PaddingAndCausalInOneMaskWithHiddenRows) {
  Problem s = make(2, 2, 2, 100, 100, 32, 32, false);
  s.a.mask = {100 * 100, 0, 100, 1};
  s.mask.assign(2 * 100 * 100, 0);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 100; ++i)
      for (int64_t j = 0; j <= i; ++j) // batch 1 is padded on the left
        s.mask[(b * 100 + i) * 100 + j] = b == 0 || j >= 13;
  check(s);
  check(s, 1);
  std::fill(s.mask.begin(), s.mask.end(), 0);
  check(s);
}

TEST(Attention, AdditiveMask) {
  Problem s = make(2, 2, 2, 30, 41, 16, 16, false);
  s.a.bias = {0, 30 * 41, 41, 1};
  s.bias = random(2 * 30 * 41, 9);
  for (size_t i = 0; i < s.bias.size(); i += 3)
    s.bias[i] = -INFINITY;
  check(s);
  s.a.bias = {41, 0, 0, 1};
  check(s);
}

// q, k and v as slices of one [B, S, (H + 2 Hkv) D] product, out as [B, S, H D].
TEST(Attention, StridedOperandsGiveTheSameBits) {
  const int64_t B = 2, H = 4, KV = 2, S = 50, D = 16, width = (H + 2 * KV) * D;
  Problem s = make(B, H, KV, S, S, D, D, true);
  Context ctx(2);
  Floats out(B * H * S * D), lse(B * H * S), dq(s.q.size()), dk(s.k.size()), dv(s.v.size());
  attention(ctx, s.a, s.q.data(), s.k.data(), s.v.data(), nullptr, nullptr, out.data(), lse.data());
  attentionGrad(ctx, s.a, s.q.data(), s.k.data(), s.v.data(), nullptr, nullptr,
                out.data(), lse.data(), s.dout.data(), dq.data(), dk.data(), dv.data());
  Floats qkv(B * S * width), dqkv(B * S * width), o(out.size()), l2(lse.size()), dO(out.size());
  auto at = [&](int64_t b, int64_t i, int64_t h) { return (b * S + i) * width + h * D; };
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < S; ++i)
      for (int64_t d = 0; d < D; ++d) {
        for (int64_t h = 0; h < H; ++h) {
          qkv[at(b, i, h) + d] = s.q[((b * H + h) * S + i) * D + d];
          dO[((b * S + i) * H + h) * D + d] = s.dout[((b * H + h) * S + i) * D + d];
        }
        for (int64_t h = 0; h < KV; ++h) {
          qkv[at(b, i, H + h) + d] = s.k[((b * KV + h) * S + i) * D + d];
          qkv[at(b, i, H + KV + h) + d] = s.v[((b * KV + h) * S + i) * D + d];
        }
      }
  Attention a = s.a;
  a.q = a.k = a.v = {S * width, D, width};
  a.out = {S * H * D, D, H * D};
  attention(ctx, a, qkv.data(), qkv.data() + H * D, qkv.data() + (H + KV) * D,
            nullptr, nullptr, o.data(), l2.data());
  attentionGrad(ctx, a, qkv.data(), qkv.data() + H * D, qkv.data() + (H + KV) * D,
                nullptr, nullptr, o.data(), l2.data(), dO.data(), dqkv.data(),
                dqkv.data() + H * D, dqkv.data() + (H + KV) * D);
  EXPECT_EQ(l2, lse);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < S; ++i)
      for (int64_t d = 0; d < D; ++d) {
        for (int64_t h = 0; h < H; ++h) {
          ASSERT_EQ(o[((b * S + i) * H + h) * D + d], out[((b * H + h) * S + i) * D + d]);
          ASSERT_EQ(dqkv[at(b, i, h) + d], dq[((b * H + h) * S + i) * D + d]);
        }
        for (int64_t h = 0; h < KV; ++h) {
          ASSERT_EQ(dqkv[at(b, i, H + h) + d], dk[((b * KV + h) * S + i) * D + d]);
          ASSERT_EQ(dqkv[at(b, i, H + KV + h) + d], dv[((b * KV + h) * S + i) * D + d]);
        }
      }
}

TEST(Attention, ThreadsDoNotChangeBits) {
  Problem s = make(1, 2, 2, 200, 200, 16, 16, true);
  Floats o1(s.q.size()), o2 = o1, l1(400), l2 = l1;
  Context one(1), two(2);
  attention(one, s.a, s.q.data(), s.k.data(), s.v.data(), nullptr, nullptr, o1.data(), l1.data());
  attention(two, s.a, s.q.data(), s.k.data(), s.v.data(), nullptr, nullptr, o2.data(), l2.data());
  EXPECT_EQ(o1, o2);
  EXPECT_EQ(l1, l2);
}
