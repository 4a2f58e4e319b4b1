//===- AttentionBf16Test.cpp - Attention of bf16 heads --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels on the tensor cores (attention_wgmma*.cu) in the model, and the
// plain ones with bf16 operands, against the definition in double. q, k and v are
// slices of one [B, S, (H + 2 Hkv) D] product where that is asked for.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_wgmma.h"

#include "Order.h"
#include "TestUtil.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Narrow = std::vector<bf16>;

Narrow narrow(int64_t n, uint32_t seed, float most) {
  Narrow v(n);
  const Floats wide = random(n, seed, -most, most);
  for (int64_t i = 0; i < n; ++i)
    v[i] = bf16(wide[i]);
  return v;
}

struct Problem {
  Attention a;
  Narrow q, k, v, dout;
  std::vector<uint8_t> mask;
  Floats bias;
};

Problem make(int64_t b, int64_t h, int64_t kv, int64_t sq, int64_t sk, int64_t d, bool causal) {
  Problem p;
  p.a = {b, h, kv, sq, sk, d};
  p.a.scale = float(1 / std::sqrt(double(d)));
  p.a.causal = causal;
  p.q = narrow(b * h * sq * d, 1, 2);
  p.k = narrow(b * kv * sk * d, 2, 2);
  p.v = narrow(b * kv * sk * d, 3, 1);
  p.dout = narrow(b * h * sq * d, 4, 1);
  return p;
}

struct Result {
  Doubles out, lse, dq, dk, dv;
};
Result reference(const Problem &p) {
  const Attention &a = p.a;
  const int64_t D = a.dim, group = a.heads / a.kvHeads;
  Result r;
  r.out.resize(p.q.size());
  r.lse.assign(a.batch * a.heads * a.queries, -INFINITY);
  r.dq.resize(p.q.size());
  r.dk.resize(p.k.size());
  r.dv.resize(p.v.size());
  for (int64_t row = 0; row < a.batch * a.heads * a.queries; ++row) {
    const int64_t i = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads,
                  kv = (b * a.kvHeads + h / group) * a.keys;
    Doubles s(a.keys, -INFINITY);
    double sum = 0, delta = 0;
    for (int64_t j = 0; j < a.keys; ++j) {
      if ((a.causal && j > i + a.causalOffset) ||
          (!p.mask.empty() &&
           !p.mask[b * a.mask.batch + h * a.mask.head + i * a.mask.query + j * a.mask.key]))
        continue;
      double dot = 0;
      for (int64_t d = 0; d < D; ++d)
        dot += double(p.q[row * D + d]) * p.k[(kv + j) * D + d];
      s[j] = dot * a.scale + (p.bias.empty() ? 0 : p.bias[i * a.keys + j]);
      sum += std::exp(s[j]);
    }
    if (sum == 0)
      continue;
    r.lse[row] = std::log(sum);
    for (int64_t j = 0; j < a.keys; ++j)
      for (int64_t d = 0; d < D; ++d)
        r.out[row * D + d] += std::exp(s[j]) / sum * p.v[(kv + j) * D + d];
    for (int64_t d = 0; d < D; ++d)
      delta += p.dout[row * D + d] * r.out[row * D + d];
    for (int64_t j = 0; j < a.keys; ++j) {
      const double w = std::exp(s[j]) / sum;
      double dp = 0;
      for (int64_t d = 0; d < D; ++d) {
        dp += double(p.dout[row * D + d]) * p.v[(kv + j) * D + d];
        r.dv[(kv + j) * D + d] += w * p.dout[row * D + d];
      }
      const double ds = w * (dp - delta) * a.scale;
      for (int64_t d = 0; d < D; ++d) {
        r.dq[row * D + d] += ds * p.k[(kv + j) * D + d];
        r.dk[(kv + j) * D + d] += ds * p.q[row * D + d];
      }
    }
  }
  return r;
}

/// Rounding to bf16 (2^-9 each time, of probabilities, of their gradients and of
/// the result) may move an element by some 2^-7 of the largest, and the whole by
/// less than 2^-8 of its norm.
void expectClose(const Narrow &got, const Doubles &want, const char *name) {
  double most = 0, error = 0, norm = 0;
  for (double x : want)
    most = std::max(most, std::fabs(x));
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(float(got[i]), want[i], most / 128) << name << " at " << i;
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  EXPECT_LE(std::sqrt(error), std::sqrt(norm) / 256) << name;
}

void check(const Problem &p) {
  const Result want = reference(p);
  Context ctx;
  const bf16 unset(NAN);
  Narrow out(p.q.size(), unset), dq(p.q.size(), unset), dk(p.k.size(), unset),
      dv(p.v.size(), unset);
  Floats lse(want.lse.size(), NAN);
  const uint8_t *mask = p.mask.empty() ? nullptr : p.mask.data();
  const float *bias = p.bias.empty() ? nullptr : p.bias.data();
  attention(ctx, p.a, p.q.data(), p.k.data(), p.v.data(), mask, bias, out.data(), lse.data());
  attentionGrad(ctx, p.a, p.q.data(), p.k.data(), p.v.data(), mask, bias, out.data(), lse.data(),
                p.dout.data(), dq.data(), dk.data(), dv.data());
  for (size_t i = 0; i < lse.size(); ++i) {
    if (std::isinf(want.lse[i]))
      ASSERT_EQ(lse[i], -INFINITY) << "at " << i;
    else
      ASSERT_NEAR(lse[i], want.lse[i], 1e-4) << "at " << i;
  }
  expectClose(out, want.out, "out");
  expectClose(dq, want.dq, "dq");
  expectClose(dk, want.dk, "dk");
  expectClose(dv, want.dv, "dv");
}

/// Whether the tensor cores take it: then `check` tests their kernels.
bool taken(const Problem &p) {
  Context ctx;
  Narrow out(p.q.size());
  Floats lse(p.a.batch * p.a.heads * p.a.queries);
  return tensorAttention(ctx, tile::completed(p.a), p.q.data(), p.k.data(), p.v.data(),
                         p.mask.empty() ? nullptr : p.mask.data(),
                         p.bias.empty() ? nullptr : p.bias.data(), out.data(), lse.data());
}
} // namespace

TEST(AttentionTensor, PlainAndCausalOddSizes) {
  for (int64_t d : {64, 128})
    for (bool causal : {false, true}) {
      const Problem p = make(1, 2, 2, 150, 150, d, causal);
      EXPECT_TRUE(taken(p));
      check(p);
    }
  check(make(2, 1, 1, 1, 1, 64, true));
  check(make(1, 1, 1, 5, 300, 64, false));
  check(make(1, 1, 1, 260, 40, 64, false));
}

TEST(AttentionTensor, GroupedHeadsAndManyTiles) {
  check(make(2, 4, 2, 130, 130, 64, true));
  check(make(1, 3, 1, 70, 520, 64, false));
  check(make(1, 2, 1, 300, 300, 128, true));
}

TEST(AttentionTensor, CausalOffsets) {
  Problem p = make(1, 1, 1, 200, 330, 64, true);
  p.a.causalOffset = 130; // aligned at the end
  check(p);
  p = make(1, 1, 1, 280, 280, 64, true);
  p.a.causalOffset = -150; // hides whole rows, and a whole tile's
  check(p);
  p.a.causalOffset = 1000;
  check(p);
}

TEST(AttentionTensor, MasksOfEveryBroadcastForm) {
  std::mt19937 gen(7);
  const auto fill = [&](Problem &p, int64_t size) {
    p.mask.resize(size);
    for (uint8_t &m : p.mask)
      m = gen() % 3 != 0;
    EXPECT_TRUE(taken(p));
    check(p);
  };
  for (bool causal : {false, true}) {
    Problem keys = make(2, 2, 1, 140, 190, 64, causal); // padding: [B, 1, 1, K]
    keys.a.mask = {190, 0, 0, 1};
    fill(keys, 2 * 190);
    Problem heads = make(1, 2, 2, 70, 130, 128, causal); // [1, H, 1, K], keys apart
    heads.a.mask = {0, 260, 0, 2};
    fill(heads, 2 * 260);
    Problem full = make(2, 2, 2, 135, 100, 64, causal); // [B, H, Q, K]
    full.a.mask = {2 * 135 * 100, 135 * 100, 100, 1};
    fill(full, 2 * 2 * 135 * 100);
  }
  // One batch sees nothing, of the other's keys a prefix is hidden.
  Problem p = make(2, 1, 1, 150, 150, 64, true);
  p.a.mask = {150, 0, 0, 1};
  p.mask.assign(300, 0);
  std::fill(p.mask.begin() + 13, p.mask.begin() + 150, 1);
  check(p);
}

TEST(AttentionTensor, StridedOperandsGiveTheSameBits) {
  const int64_t B = 2, H = 2, KV = 1, S = 70, D = 64, width = (H + 2 * KV) * D;
  Problem p = make(B, H, KV, S, S, D, true);
  Context ctx;
  Narrow out(p.q.size()), dq(p.q.size()), dk(p.k.size()), dv(p.v.size());
  Floats lse(B * H * S), lse2(lse.size());
  attention(ctx, p.a, p.q.data(), p.k.data(), p.v.data(), nullptr, nullptr, out.data(), lse.data());
  attentionGrad(ctx, p.a, p.q.data(), p.k.data(), p.v.data(), nullptr, nullptr, out.data(),
                lse.data(), p.dout.data(), dq.data(), dk.data(), dv.data());
  Narrow qkv(B * S * width), dqkv(qkv.size()), o(out.size()), dout(out.size());
  // fn(of the slices, of the dense one) for each element of n heads.
  const auto each = [&](int64_t n, auto &&fn) {
    for (int64_t b = 0; b < B; ++b)
      for (int64_t h = 0; h < n; ++h)
        for (int64_t i = 0; i < S; ++i)
          for (int64_t d = 0; d < D; ++d)
            fn((b * S + i) * width + h * D + d, ((b * n + h) * S + i) * D + d,
               ((b * S + i) * n + h) * D + d);
  };
  each(H, [&](int64_t slice, int64_t dense, int64_t row) {
    qkv[slice] = p.q[dense];
    dout[row] = p.dout[dense];
  });
  each(KV, [&](int64_t slice, int64_t dense, int64_t) {
    qkv[slice + H * D] = p.k[dense];
    qkv[slice + (H + KV) * D] = p.v[dense];
  });
  Attention a = p.a;
  a.q = a.k = a.v = {S * width, D, width};
  a.out = {S * H * D, D, H * D};
  attention(ctx, a, qkv.data(), qkv.data() + H * D, qkv.data() + (H + KV) * D, nullptr, nullptr,
            o.data(), lse2.data());
  attentionGrad(ctx, a, qkv.data(), qkv.data() + H * D, qkv.data() + (H + KV) * D, nullptr, nullptr,
                o.data(), lse2.data(), dout.data(), dqkv.data(), dqkv.data() + H * D,
                dqkv.data() + (H + KV) * D);
  EXPECT_EQ(lse, lse2);
  each(H, [&](int64_t slice, int64_t dense, int64_t row) {
    ASSERT_EQ(o[row].bits, out[dense].bits);
    ASSERT_EQ(dqkv[slice].bits, dq[dense].bits);
  });
  each(KV, [&](int64_t slice, int64_t dense, int64_t) {
    ASSERT_EQ(dqkv[slice + H * D].bits, dk[dense].bits);
    ASSERT_EQ(dqkv[slice + (H + KV) * D].bits, dv[dense].bits);
  });
}

TEST(AttentionTensor, OrderOfBlocksAndThreadsDoesNotMatter) {
  for (uint32_t seed : {3u, 11u}) {
    setOrder(seed);
    check(make(1, 2, 1, 140, 200, 64, true));
  }
  setOrder(0);
}

TEST(AttentionPlain, Bf16WhereTheTensorCoresDoNotTakeIt) {
  const Problem odd = make(1, 2, 1, 70, 70, 40, true);
  EXPECT_FALSE(taken(odd));
  check(odd);
  Problem biased = make(1, 2, 2, 66, 75, 64, false);
  biased.a.bias = {0, 0, 75, 1};
  biased.bias = random(66 * 75, 9);
  EXPECT_FALSE(taken(biased));
  check(biased);
}
