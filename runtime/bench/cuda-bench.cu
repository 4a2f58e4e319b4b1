//===- cuda-bench.cu - Rates of the kernels on a GPU ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// cuda-bench [FILTER] [--json FILE]: one line a kernel and shape with its rate and
// that as a share of what one H100 (SXM) can do: 989 TFLOP/s in bf16, 3,350 GB/s.
// FILTER: only names that contain it. Operands are random: zeros run faster.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/cuda/launch.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

using namespace moire::rt;

namespace {
constexpr double kFlops = 989e12, kBytes = 3.35e12;

/// Device memory with random numbers in -1 … 1.
template <typename T> class Random {
public:
  Random(Context &ctx, int64_t n, uint32_t seed) : block(n * int64_t(sizeof(T))) {
    // A period of odd length: rows differ.
    std::vector<T> host(std::min<int64_t>(n, (1 << 22) - 3));
    std::mt19937 gen(seed);
    for (T &x : host)
      x = T(float(gen()) / float(1u << 31) - 1.0f);
    for (int64_t at = 0; at < n; at += int64_t(host.size()))
      upload(ctx, block.template as<T>() + at, host.data(),
             std::min<int64_t>(n - at, int64_t(host.size())) * int64_t(sizeof(T)));
  }
  T *get() const { return block.template as<T>(); }
  operator T *() const { return get(); }

private:
  DeviceBlock block;
};

class Bench {
public:
  Bench(std::string filter, const char *json) : filter(std::move(filter)) {
    if (json && !(file = std::fopen(json, "w")))
      throw InputError(std::string("cannot write ") + json);
    if (file)
      std::fprintf(file, "[");
  }
  ~Bench() {
    if (file) {
      std::fprintf(file, "\n]\n");
      std::fclose(file);
    }
  }
  bool wants(const std::string &name) const { return name.find(filter) != std::string::npos; }

  /// work: of one run, in operations or bytes.
  void run(const std::string &name, double work, bool operations,
           const std::function<void()> &body) {
    if (!wants(name))
      return;
    cudaEvent_t begin, end;
    MOIRE_CUDA(cudaEventCreate(&begin));
    MOIRE_CUDA(cudaEventCreate(&end));
    for (int i = 0; i < 3; ++i)
      body();
    // About 0.1 s.
    float once = 0;
    int runs = 1;
    for (int pass = 0; pass < 2; ++pass) {
      MOIRE_CUDA(cudaEventRecord(begin, streamOf(ctx)));
      for (int i = 0; i < runs; ++i)
        body();
      MOIRE_CUDA(cudaEventRecord(end, streamOf(ctx)));
      MOIRE_CUDA(cudaEventSynchronize(end));
      MOIRE_CUDA(cudaEventElapsedTime(&once, begin, end));
      once /= float(runs);
      runs = std::max(5, std::min(2000, int(100 / std::max(once, 1e-3f))));
    }
    MOIRE_CUDA(cudaEventDestroy(begin));
    MOIRE_CUDA(cudaEventDestroy(end));
    const double rate = work / (once * 1e-3), share = rate / (operations ? kFlops : kBytes);
    std::printf("%-58s %10.1f us %9.1f %s %5.1f %%\n", name.c_str(), once * 1e3,
                rate / (operations ? 1e12 : 1e9), operations ? "TFLOP/s" : "GB/s   ", share * 100);
    std::fflush(stdout);
    if (file)
      std::fprintf(file,
                   "%s\n{\"kernel\": \"%s\", \"us\": %.2f, \"rate\": %.2f, \"unit\": \"%s\", "
                   "\"share\": %.4f}",
                   rows++ ? "," : "", name.c_str(), once * 1e3, rate / (operations ? 1e12 : 1e9),
                   operations ? "TFLOP/s" : "GB/s", share);
  }

  Context ctx;

private:
  std::string filter;
  std::FILE *file = nullptr;
  int rows = 0;
};

void gemms(Bench &b) {
  struct Shape {
    const char *what;
    int64_t m, n, k;
  };
  for (Shape s : {Shape{"8192 cube", 8192, 8192, 8192},
                  {"GPT-2 qkv", 32768, 2304, 768},
                  {"GPT-2 up", 32768, 3072, 768},
                  {"GPT-2 down", 32768, 768, 3072},
                  {"GPT-2 logits", 8192, 50304, 768}}) {
    const std::string name = std::string("gemm ") + s.what;
    if (!b.wants(name))
      continue;
    Random<bf16> x(b.ctx, s.m * s.k, 1), w(b.ctx, s.k * s.n, 2), y(b.ctx, s.m * s.n, 3);
    Random<float> bias(b.ctx, s.n, 4), dw(b.ctx, s.k * s.n, 5);
    const double work = 2.0 * s.m * s.n * s.k;
    b.run(name + ", with bias", work, true, [&] {
      gemm<bf16, bf16>(b.ctx, {s.m, s.n, s.k}, x, w, y, bias);
    });
    b.run(name + ", input gradient", work, true, [&] {
      gemm<bf16, bf16>(b.ctx, {s.m, s.k, s.n, false, true}, y, w, x, nullptr);
    });
    b.run(name + ", weight gradient in float", work, true, [&] {
      gemm<bf16, float>(b.ctx, {s.k, s.n, s.m, true}, x, y, dw, nullptr);
    });
  }
}

void experts(Bench &b) {
  struct Shape {
    const char *what;
    int64_t tokens, k, experts, dim, hidden;
  };
  for (Shape s : {Shape{"S", 32768, 4, 32, 1024, 512},
                  {"M", 16384, 8, 64, 2048, 1024},
                  {"C", 16384, 2, 8, 2048, 4096}}) {
    const std::string name = std::string("experts ") + s.what;
    if (!b.wants(name))
      continue;
    Context &ctx = b.ctx;
    const int64_t rows = s.tokens * s.k;
    // Each token chooses k different experts, evenly on average.
    std::vector<int64_t> ids(rows);
    std::mt19937 gen(1);
    for (int64_t t = 0; t < s.tokens; ++t)
      for (int64_t k = 0, first = gen() % s.experts; k < s.k; ++k)
        ids[t * s.k + k] = (first + k * (s.experts / s.k)) % s.experts;
    DeviceBlock deviceIds(rows * 8), memory(Routing::bytes(s.tokens, s.k, s.experts));
    upload(ctx, deviceIds.data(), ids.data(), rows * 8);
    const Routing r = Routing::at(memory.data(), s.tokens, s.k, s.experts);
    route(ctx, r, deviceIds.as<int64_t>());
    Random<bf16> x(ctx, s.tokens * s.dim, 1), sent(ctx, rows * s.dim, 2),
        w(ctx, s.experts * s.dim * s.hidden, 3), y(ctx, rows * s.hidden, 4);
    Random<float> dw(ctx, s.experts * s.dim * s.hidden, 5), weights(ctx, rows, 6);
    const double work = 2.0 * rows * s.dim * s.hidden;
    const GroupedGemm up{s.hidden, s.dim}, upT{s.hidden, s.dim, true}, down{s.dim, s.hidden, true};
    GroupedGemm gathering = upT; // to compare with upT and dispatch
    gathering.gatherX = true;
    b.run(name + ", w [E, k, n]", work, true,
          [&] { groupedGemm<bf16, bf16>(ctx, up, r, sent, w, y, nullptr); });
    b.run(name + ", w [E, n, k]", work, true,
          [&] { groupedGemm<bf16, bf16>(ctx, upT, r, sent, w, y, nullptr); });
    b.run(name + ", w [E, n, k], tokens gathered", work, true,
          [&] { groupedGemm<bf16, bf16>(ctx, gathering, r, x, w, y, nullptr); });
    b.run(name + ", input gradient", work, true,
          [&] { groupedGemm<bf16, bf16>(ctx, down, r, y, w, sent, nullptr); });
    b.run(name + ", weight gradient in float", work, true,
          [&] { groupedGemmWeightGrad<bf16>(ctx, up, r, sent, y, dw); });
    b.run(name + ", weight gradient in float, tokens gathered", work, true,
          [&] { groupedGemmWeightGrad<bf16>(ctx, gathering, r, x, y, dw); });
    const double moved = 2.0 * rows * s.dim;
    b.run(name + ", route", 16.0 * rows, false, [&] { route(ctx, r, deviceIds.as<int64_t>()); });
    b.run(name + ", dispatch", moved * 2, false, [&] { dispatch<bf16>(ctx, r, s.dim, x, sent); });
    b.run(name + ", combine", moved + moved / s.k, false,
          [&] { combine<bf16>(ctx, r, s.dim, sent, weights, x, 0); });
    Random<float> dweights(ctx, rows, 7);
    Random<bf16> drows(ctx, rows * s.dim, 8);
    b.run(name + ", combine backward", moved * 3, false,
          [&] { combineGrad<bf16>(ctx, r, s.dim, sent, weights, x, drows, dweights); });
  }
}

void attentions(Bench &b) {
  struct Shape {
    const char *what;
    int64_t batch, heads, kvHeads, length, dim;
    bool causal;
  };
  for (Shape s : {Shape{"GPT-2", 32, 12, 12, 1024, 64, true},
                  {"4k, 128 columns, causal", 4, 16, 16, 4096, 128, true},
                  {"4k, 128 columns, 4 heads a key", 4, 16, 4, 4096, 128, true},
                  {"4k, 128 columns", 4, 16, 16, 4096, 128, false}}) {
    const std::string name = std::string("attention ") + s.what;
    if (!b.wants(name))
      continue;
    const int64_t n = s.batch * s.heads * s.length * s.dim;
    const int64_t m = s.batch * s.kvHeads * s.length * s.dim;
    Random<bf16> q(b.ctx, n, 1), k(b.ctx, m, 2), v(b.ctx, m, 3), out(b.ctx, n, 4),
        dout(b.ctx, n, 5), dq(b.ctx, n, 6), dk(b.ctx, m, 7), dv(b.ctx, m, 8);
    Random<float> lse(b.ctx, s.batch * s.heads * s.length, 9);
    Attention a;
    a.batch = s.batch;
    a.heads = s.heads;
    a.kvHeads = s.kvHeads;
    a.queries = a.keys = s.length;
    a.dim = s.dim;
    a.scale = s.dim == 64 ? 0.125f : 0.08838835f;
    a.causal = s.causal;
    // Two products forward, five backward, half of them hidden.
    const double product = 2.0 * n * s.length * (s.causal ? 0.5 : 1.0);
    b.run(name + ", forward", 2 * product, true,
          [&] { attention<bf16>(b.ctx, a, q, k, v, nullptr, nullptr, out, lse); });
    b.run(name + ", backward", 5 * product, true, [&] {
      attentionGrad<bf16>(b.ctx, a, q, k, v, nullptr, nullptr, out, lse, dout, dq, dk, dv);
    });
  }
}

struct Add {
  MOIRE_FUNCTOR run(float a, float b, float &y) { y = a + b; }
};
struct SwiGlu {
  MOIRE_FUNCTOR run(float gate, float up, float &y) { y = math::swiglu(gate, up); }
};

/// What memory bounds: bytes read and written once. 32,768 tokens of 1,024 values.
void rows(Bench &b) {
  const int64_t count = 32768, width = 1024, n = count * width;
  const Rows shape{count, width, 1e-5f};
  Context &ctx = b.ctx;
  {
    Random<float> x(ctx, n, 1), y(ctx, n, 2), z(ctx, n, 3), to(ctx, n, 4);
    Random<bf16> narrow(ctx, n, 5);
    Random<float> scale(ctx, width, 6), bias(ctx, width, 7), mean(ctx, count, 8),
        rstd(ctx, count, 9), dscale(ctx, width, 10), dbias(ctx, width, 11);
    const double bytes = 4.0 * n;
    b.run("add, f32", 3 * bytes, false,
          [&] { launch<Add>(ctx, {n}, in<1>(x.get()), in<1>(y.get()), out<1>(to.get())); });
    b.run("layer norm of a residual sum, f32 to bf16", 3.5 * bytes, false,
          [&] { layerNorm<float, bf16>(ctx, shape, x, scale, bias, narrow, mean, rstd, y, to); });
    b.run("RMS norm of a residual sum, f32 to bf16", 3.5 * bytes, false,
          [&] { rmsNorm<float, bf16>(ctx, shape, x, scale, narrow, rstd, y, to); });
    b.run("layer norm backward, residual added", 3.5 * bytes, false, [&] {
      layerNormGrad<float, bf16>(ctx, shape, narrow, x, scale, mean, rstd, to, dscale, dbias, 1, 1,
                                 y);
    });
    b.run("RMS norm backward, residual added", 3.5 * bytes, false,
          [&] { rmsNormGrad<float, bf16>(ctx, shape, narrow, x, scale, rstd, to, dscale, 1, y); });
    b.run("softmax, f32", 2 * bytes, false, [&] { softmax(ctx, shape, x, to); });
    b.run("transpose, f32", 2 * bytes, false, [&] {
      transpose<float>(ctx, {count, width}, {1, 0}, x, to);
    });
    Hyper h;
    h.step = 1;
    b.run("AdamW of one parameter, f32", 7 * bytes, false,
          [&] { updateAdamW(ctx, h, n, true, to, x, y, z); });
    const int64_t vocab = n / width; // the table is x
    std::vector<int64_t> host(count);
    for (int64_t i = 0; i < count; ++i)
      host[i] = i * 7919 % vocab;
    const DeviceBlock ids(count * 8);
    upload(ctx, ids.as<int64_t>(), host.data(), count * 8);
    const Gather g{1, vocab, width, count};
    b.run("embedding", 2 * bytes, false, [&] { gather<float>(ctx, g, x, ids.as<int64_t>(), to); });
    b.run("embedding backward, added", 3 * bytes, false,
          [&] { gatherGrad(ctx, g, y, ids.as<int64_t>(), to, 1); });
  }
  {
    Random<bf16> x(ctx, n, 1), y(ctx, n, 2), to(ctx, n, 3);
    Random<float> cosine(ctx, 1024 * 32, 4), sine(ctx, 1024 * 32, 5);
    b.run("SwiGLU, bf16", 6.0 * n, false,
          [&] { launch<SwiGlu>(ctx, {n}, in<1>(x.get()), in<1>(y.get()), out<1>(to.get())); });
    b.run("rotary embedding, bf16", 4.0 * n, false, [&] {
      rope<bf16>(ctx, {32, 16, 1024, 64}, x, cosine, sine, to);
    });
  }
  const CrossEntropy c{8192, 50304};
  {
    const int64_t logits = c.rows * c.vocab;
    Random<bf16> x(ctx, logits, 1), dx(ctx, logits, 2);
    Random<float> losses(ctx, c.rows, 3), lse(ctx, c.rows, 4), dloss(ctx, 1, 5);
    std::vector<int64_t> host(c.rows);
    for (int64_t i = 0; i < c.rows; ++i)
      host[i] = i * 7919 % c.vocab;
    const DeviceBlock labels(c.rows * 8);
    upload(ctx, labels.as<int64_t>(), host.data(), c.rows * 8);
    b.run("cross-entropy and gradient, 8192 x 50304, bf16", 4.0 * logits, false, [&] {
      crossEntropyWithGrad<bf16>(ctx, c, x, labels.as<int64_t>(), dloss, losses, lse, dx);
    });
  }
}
} // namespace

int main(int argc, char **argv) {
  std::string filter;
  const char *json = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--json" && i + 1 < argc)
      json = argv[++i];
    else
      filter = argv[i];
  }
  try {
    Bench bench(filter, json);
    std::printf("%s\n", describeDevice(bench.ctx).c_str());
    gemms(bench);
    experts(bench);
    attentions(bench);
    rows(bench);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  }
  return 0;
}
