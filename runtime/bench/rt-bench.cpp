//===- rt-bench.cpp - How fast the kernels are ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     rt-bench [threads] [filter]
//
// Shapes of GPT-2 124M at batch 4 × 256 and of a Mixtral-like model (width 512,
// 8 experts, top-2). With one thread the best CPU time of several calls is
// printed, which other processes disturb little; with more, the best wall time.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/kernels.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <omp.h>
#include <random>
#include <vector>

using namespace moire::rt;

namespace {
int threads = 1;
const char *filter = "";

double now() {
  timespec t;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

std::vector<float> random(int64_t n) {
  std::mt19937 gen{uint32_t(n)};
  std::vector<float> v(n);
  for (float &x : v)
    x = float(gen()) * 0x1p-31f - 1.0f;
  return v;
}

/// Runs body for at least 0.3 s and prints its best time and the two rates.
template <typename Body>
void measure(const char *name, double flop, double bytes, Body &&body) {
  if (!std::strstr(name, filter))
    return;
  body();
  double best = 1e30, total = 0;
  for (int i = 0; i < 5 || (total < 0.3 && i < 1000); ++i) {
    const double start = now();
    body();
    const double t = now() - start;
    best = std::min(best, t);
    total += t;
  }
  std::printf("%-44s %9.3f ms", name, best * 1e3);
  if (flop > 0)
    std::printf("  %7.1f GFLOP/s", flop / best * 1e-9);
  if (bytes > 0)
    std::printf("  %6.1f GB/s", bytes / best * 1e-9);
  std::printf("\n");
}

void benchGemm(Context &ctx) {
  const struct {
    const char *name;
    int64_t m, n, k;
    bool ta, tb;
  } shapes[] = {{"gemm qkv", 1024, 2304, 768, false, false},
                {"gemm proj", 1024, 768, 768, false, false},
                {"gemm up", 1024, 3072, 768, false, false},
                {"gemm down", 1024, 768, 3072, false, false},
                {"gemm up dx (NT)", 1024, 768, 3072, false, true},
                {"gemm up dw (TN)", 768, 3072, 1024, true, false},
                {"gemm head (NT)", 1024, 50257, 768, false, true},
                {"gemm head dx (NN)", 1024, 768, 50257, false, false},
                {"gemm head dw (TN)", 50257, 768, 1024, true, false},
                {"gemm 256x512x512", 256, 512, 512, false, true},
                {"gemm 64x1024x512", 64, 1024, 512, false, true}};
  for (auto &s : shapes) {
    auto a = random(s.m * s.k), b = random(s.k * s.n), c = random(s.m * s.n);
    Gemm g{s.m, s.n, s.k, s.ta, s.tb};
    measure(s.name, 2.0 * s.m * s.n * s.k, 0,
            [&] { gemm(ctx, g, a.data(), b.data(), c.data()); });
  }
  auto a = random(1024 * 768), b = random(768 * 3072), c = random(1024 * 3072), bias = random(3072);
  measure("gemm up with bias", 2.0 * 1024 * 3072 * 768, 0, [&] {
    gemm(ctx, {1024, 3072, 768}, a.data(), b.data(), c.data(), bias.data());
  });
}

void benchExperts(Context &ctx) {
  const int64_t t = 256, k = 2, e = 8, d = 512, h = 1792;
  std::vector<char> memory(Routing::bytes(t, k, e));
  Routing r = Routing::at(memory.data(), t, k, e);
  std::vector<int64_t> ids(t * k);
  std::mt19937 gen(1);
  for (int64_t i = 0; i < t * k; i += 2) {
    ids[i] = gen() % e;
    ids[i + 1] = (ids[i] + 1 + gen() % (e - 1)) % e;
  }
  measure("route", 0, 0, [&] { route(ctx, r, ids.data()); });
  route(ctx, r, ids.data());
  auto x = random(t * k * d), w = random(e * d * h), y = random(t * k * h);
  const double flop = 2.0 * t * k * d * h;
  measure("grouped gemm (NT)", flop, 0, [&] {
    groupedGemm(ctx, {h, d, true}, r, x.data(), w.data(), y.data());
  });
  measure("grouped gemm (NN)", flop, 0, [&] {
    groupedGemm(ctx, {h, d}, r, x.data(), w.data(), y.data());
  });
  measure("grouped gemm dx (NN)", flop, 0, [&] {
    groupedGemm(ctx, {d, h}, r, y.data(), w.data(), x.data());
  });
  measure("grouped gemm dw", flop, 0, [&] {
    groupedGemmWeightGrad(ctx, {d, h}, r, y.data(), x.data(), w.data());
  });
  auto in = random(t * d), weights = random(t * k);
  measure("dispatch", 0, 4.0 * t * k * d * 2, [&] { dispatch(ctx, r, d, in.data(), x.data()); });
  measure("combine", 0, 4.0 * t * d * (k + 1), [&] {
    combine(ctx, r, d, x.data(), weights.data(), in.data());
  });
}

void benchAttention(Context &ctx) {
  const struct {
    const char *name;
    int64_t b, h, kv, s, d;
    bool causal, mask;
  } shapes[] = {{"attention 4x12x256x64 causal", 4, 12, 12, 256, 64, true, false},
                {"attention 4x12x256x64 causal mask", 4, 12, 12, 256, 64, false, true},
                {"attention 4x12x256x64", 4, 12, 12, 256, 64, false, false},
                {"attention 1x8(2)x256x64 causal", 1, 8, 2, 256, 64, true, false},
                {"attention 1x12x1024x64 causal", 1, 12, 12, 1024, 64, true, false},
                {"attention 1x8x2048x128 causal", 1, 8, 8, 2048, 128, true, false}};
  for (auto &s : shapes) {
    auto q = random(s.b * s.h * s.s * s.d), k = random(s.b * s.kv * s.s * s.d), v = k;
    auto o = q, dout = q, dq = q, dk = k, dv = k, lse = random(s.b * s.h * s.s);
    std::vector<uint8_t> mask(s.s * s.s);
    for (int64_t i = 0; i < s.s; ++i)
      for (int64_t j = 0; j <= i; ++j)
        mask[i * s.s + j] = 1;
    Attention a{s.b, s.h, s.kv, s.s, s.s, s.d};
    a.scale = 0.125f;
    a.causal = s.causal;
    a.mask = {0, 0, s.s, 1};
    const uint8_t *m = s.mask ? mask.data() : nullptr;
    const double flop = 4.0 * s.b * s.h * s.s * s.s * s.d / (s.causal || s.mask ? 2 : 1);
    measure(s.name, flop, 0, [&] {
      attention(ctx, a, q.data(), k.data(), v.data(), m, nullptr, o.data(), lse.data());
    });
    measure((std::string(s.name) + " grad").c_str(), 2.5 * flop, 0, [&] {
      attentionGrad(ctx, a, q.data(), k.data(), v.data(), m, nullptr, o.data(), lse.data(),
                    dout.data(), dq.data(), dk.data(), dv.data());
    });
  }
}

void benchRows(Context &ctx) {
  {
    const int64_t n = 1024, v = 50257;
    auto x = random(n * v), y = x, losses = random(n), lse = random(n);
    std::vector<int64_t> labels(n, 77);
    CrossEntropy c{n, v};
    measure("cross-entropy 1024x50257", 0, 4.0 * n * v, [&] {
      crossEntropy(ctx, c, x.data(), labels.data(), losses.data(), lse.data());
    });
    float dloss = 1.0f / n;
    measure("cross-entropy grad in place", 0, 8.0 * n * v, [&] {
      crossEntropyGrad(ctx, c, y.data(), labels.data(), lse.data(), &dloss, 0, y.data());
    });
    measure("cross-entropy with grad in place", 0, 8.0 * n * v, [&] {
      crossEntropyWithGrad(ctx, c, y.data(), labels.data(), &dloss, losses.data(), nullptr, y.data());
    });
  }
  const Rows n{1024, 768, 1e-5f};
  auto x = random(1024 * 768), y = x, dy = x, dx = x, s = random(768), b = s, ds = s, db = s;
  const double size = 4.0 * 1024 * 768;
  measure("layer norm 1024x768", 0, 2 * size, [&] {
    layerNorm(ctx, n, x.data(), s.data(), b.data(), y.data());
  });
  measure("layer norm grad", 0, 3 * size, [&] {
    layerNormGrad(ctx, n, dy.data(), x.data(), s.data(), nullptr, nullptr, dx.data(), ds.data(), db.data());
  });
  measure("rms norm", 0, 2 * size, [&] { rmsNorm(ctx, n, x.data(), s.data(), y.data()); });
  measure("rms norm grad", 0, 3 * size, [&] {
    rmsNormGrad(ctx, n, dy.data(), x.data(), s.data(), nullptr, dx.data(), ds.data());
  });
  measure("softmax 1024x768", 0, 2 * size, [&] { softmax(ctx, n, x.data(), y.data()); });
  measure("bias grad (column sums) 1024x768", 0, size, [&] {
    reduce<float>(ctx, ReduceKind::sum, {{1024, 768}, 1}, x.data(), ds.data());
  });
  measure("row sums 1024x768", 0, size, [&] {
    reduce<float>(ctx, ReduceKind::sum, {{1024, 768}, 2}, x.data(), y.data());
  });
  measure("transpose [4,256,12,64] 0213", 0, 2 * size, [&] {
    transpose<float>(ctx, {4, 256, 12, 64}, {0, 2, 1, 3}, x.data(), y.data());
  });
  measure("transpose [1024,768] 10", 0, 2 * size, [&] {
    transpose<float>(ctx, {1024, 768}, {1, 0}, x.data(), y.data());
  });
  std::vector<int64_t> ids(1024);
  for (int64_t i = 0; i < 1024; ++i)
    ids[i] = i * 7919 % 50257;
  auto table = random(50257 * 768);
  measure("embedding 1024 rows of 768", 0, 2 * size, [&] {
    gather<float>(ctx, {1, 50257, 768, 1024}, table.data(), ids.data(), y.data());
  });
  measure("embedding grad, accumulating", 0, 3 * size, [&] {
    gatherGrad(ctx, {1, 50257, 768, 1024}, y.data(), ids.data(), table.data(), 1);
  });
}

struct Gelu {
  MOIRE_FUNCTOR run(float x, float &y) {
    y = 0.5f * x * (1.0f + math::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
  }
};
struct GeluErf {
  MOIRE_FUNCTOR run(float x, float &y) {
    y = 0.5f * x * (1.0f + math::erf(x * 0.70710678f));
  }
};
struct SwiGlu {
  MOIRE_FUNCTOR run(float g, float u, float &y) { y = g * math::sigmoid(g) * u; }
};
struct Add {
  MOIRE_FUNCTOR run(float a, float b, float &y) { y = a + b; }
};
struct Log {
  MOIRE_FUNCTOR run(float a, float &y) { y = math::log(a); }
};
struct Exp {
  MOIRE_FUNCTOR run(float a, float &y) { y = math::exp(a); }
};

void benchElementwise(Context &ctx) {
  const int64_t n = 1024 * 3072;
  auto a = random(n), b = random(n), y = random(n);
  const double size = 4.0 * n;
  measure("gelu tanh 1024x3072", 0, 2 * size, [&] {
    launch<Gelu>(ctx, {n}, in<1>(a.data()), out<1>(y.data()));
  });
  measure("gelu erf", 0, 2 * size, [&] {
    launch<GeluErf>(ctx, {n}, in<1>(a.data()), out<1>(y.data()));
  });
  measure("swiglu", 0, 3 * size, [&] {
    launch<SwiGlu>(ctx, {n}, in<1>(a.data()), in<1>(b.data()), out<1>(y.data()));
  });
  measure("exp", 0, 2 * size, [&] { launch<Exp>(ctx, {n}, in<1>(a.data()), out<1>(y.data())); });
  measure("log", 0, 2 * size, [&] { launch<Log>(ctx, {n}, in<1>(a.data()), out<1>(y.data())); });
  measure("add", 0, 3 * size, [&] {
    launch<Add>(ctx, {n}, in<1>(a.data()), in<1>(b.data()), out<1>(y.data()));
  });
  measure("add row vector", 0, 2 * size, [&] {
    launch<Add>(ctx, {1024, 3072}, in<1>(a.data(), {3072}), in<1>(b.data(), {0}),
                out<1>(y.data(), {3072}));
  });
}

void benchOptimizer(Context &ctx) {
  const int64_t n = 124000000 / 4;
  auto p = random(n), g = p, m = p, v = p;
  for (float &x : v)
    x = x * x;
  Hyper h;
  h.lr = 1e-3;
  measure("adamw 31M", 0, 28.0 * n, [&] {
    updateAdamW(ctx, h, n, true, p.data(), g.data(), m.data(), v.data());
  });
  measure("sgd 31M", 0, 12.0 * n, [&] {
    updateSGD(ctx, h, n, true, p.data(), g.data(), nullptr);
  });
}
} // namespace

int main(int argc, char **argv) {
  if (argc > 1)
    threads = std::max(1, std::atoi(argv[1]));
  if (argc > 2)
    filter = argv[2];
  omp_set_num_threads(threads);
  Context ctx(threads);
  benchGemm(ctx);
  benchExperts(ctx);
  benchAttention(ctx);
  benchRows(ctx);
  benchElementwise(ctx);
  benchOptimizer(ctx);
  return 0;
}
