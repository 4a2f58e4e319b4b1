//===- HostRates.cpp - What this machine's kernels reach -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled for the machine that builds it, as the runtime is, and without the
// compiler's headers.
//
//===----------------------------------------------------------------------===//
#include "HostRates.h"
#include "moire/rt/attention.h"
#include "moire/rt/gemm.h"
#include "moire/rt/norm.h"
#include "moire/rt/routing.h"
#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <random>
#include <thread>
#include <unistd.h>

using namespace moire;
using namespace moire::plan;

extern "C" void omp_set_num_threads(int); // of the library that the kernels use

namespace {

/// One thread is timed by the time that it computes, which other processes disturb little.
bool single = false;
double now() {
  timespec time;
  clock_gettime(single ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The fastest of 7 to 99 calls in about 0.12 s, after one that warms up: what else runs on the
/// machine only ever adds time.
template <class Body> double timeOf(Body &&body) {
  body();
  double best = 1e30, total = 0;
  for (int i = 0; i < 7 || (total < 0.12 && i < 99); ++i) {
    const double start = now();
    body();
    const double time = now() - start;
    best = std::min(best, time);
    total += time;
  }
  return best;
}

/// Uniform in [-1, 1): zeros would let a processor save power that real data takes.
template <class T> std::vector<T> randomData(int64_t count) {
  std::mt19937 random(static_cast<uint32_t>(count));
  std::vector<T> data(count);
  for (T &value : data)
    value = T(static_cast<float>(random()) * 0x1p-31f - 1.0f);
  return data;
}

//===----------------------------------------------------------------------===//
// Peak
//===----------------------------------------------------------------------===//

#ifdef __AVX512F__
constexpr int kWide = 64;
#elif defined(__AVX__)
constexpr int kWide = 32;
#else
constexpr int kWide = 16;
#endif
typedef float Vector __attribute__((vector_size(kWide)));

/// `count` rounds of twelve independent multiply-adds; returns something that depends on all.
__attribute__((noinline)) float multiplyAdd(long count, float by) {
  Vector sums[12], factor = {}, addend = {};
  for (int i = 0; i < kWide / 4; ++i)
    factor[i] = by, addend[i] = 1 - by;
  for (int s = 0; s < 12; ++s)
    sums[s] = addend * static_cast<float>(s + 1);
  for (long n = 0; n < count; ++n) {
#pragma GCC unroll 12
    for (int s = 0; s < 12; ++s)
      sums[s] = sums[s] * factor + addend;
      // Keeps the sums in registers and the rounds apart.
#ifdef __x86_64__
    asm volatile(""
                 : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]), "+x"(sums[4]),
                   "+x"(sums[5]));
    asm volatile(""
                 : "+x"(sums[6]), "+x"(sums[7]), "+x"(sums[8]), "+x"(sums[9]), "+x"(sums[10]),
                   "+x"(sums[11]));
#else
    asm volatile("" ::: "memory");
#endif
  }
  float result = 0;
  for (const Vector &sum : sums)
    result += sum[0];
  return result;
}

template <class Body> void onThreads(int threads, Body &&body) {
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back(body, t);
  body(0);
  for (std::thread &thread : others)
    thread.join();
}

//===----------------------------------------------------------------------===//
// Measurements
//===----------------------------------------------------------------------===//

class Host {
public:
  explicit Host(int threads) : ctx(threads) {
    rates.threads = threads;
    single = threads == 1;
    omp_set_num_threads(threads); // what oneDNN goes by
  }

  HostRates measure() {
    peak();
    products();
    experts();
    attention();
    traffic();
    link();
    rates.memory =
        static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
    return rates;
  }

private:
  rt::Context ctx;
  HostRates rates;

  double note(const std::string &what, double work, double seconds, bool isFlops = true) {
    rates.measured.push_back({what, seconds, work / seconds, isFlops});
    return work / seconds;
  }

  void peak() {
    const long rounds = 2000000;
    std::atomic<int> sink{0};
    const double time = timeOf([&] {
      onThreads(ctx.threads, [&](int t) {
        sink += multiplyAdd(rounds, 0.5f + 0.001f * static_cast<float>(t)) > 0;
      });
    });
    rates.peak =
        note("multiply-adds in registers", 2.0 * 12 * (kWide / 4) * rounds * ctx.threads, time);
  }

  template <class T> double product(const char *dtype, int64_t m, int64_t n, int64_t k) {
    const auto a = randomData<T>(m * k), b = randomData<T>(k * n);
    std::vector<T> c(m * n);
    const rt::Gemm shape{m, n, k};
    const double time = timeOf([&] { rt::gemm(ctx, shape, a.data(), b.data(), c.data()); });
    return note(std::string("product ") + dtype + " [" + std::to_string(m) + ", " +
                    std::to_string(k) + "] x [" + std::to_string(k) + ", " + std::to_string(n) +
                    "]",
                2.0 * m * n * k, time);
  }

  void products() {
    // Time per FLOP is (1 + half / d) / rate, a line in 1 / d: least squares of relative errors.
    double w0 = 0, w1 = 0, w2 = 0, y0 = 0, y1 = 0;
    for (int64_t d : {16, 32, 64, 128, 256, 512, 1024})
      for (bool rows : {true, false}) {
        const double y = 1 / (rows ? product<float>("f32", d, 1024, 1024)
                                   : product<float>("f32", 1024, 1024, d));
        const double x = 1.0 / static_cast<double>(d), w = 1 / (y * y);
        w0 += w, w1 += w * x, w2 += w * x * x, y0 += w * y, y1 += w * x * y;
      }
    const double slope = (w0 * y1 - w1 * y0) / (w0 * w2 - w1 * w1);
    const double base = (y0 - slope * w1) / w0;
    rates.matmulHalf = std::max(0.0, slope / base);
    rates.matmulF32 = std::min(1 / base, rates.peak);
    const double bf16 = product<rt::bf16>("bf16", 1024, 1024, 1024);
    rates.matmulBf16 = bf16 * (1024 + rates.matmulHalf) / 1024;
  }

  void experts() {
    const int64_t tokens = 512, k = 2, experts = 8, width = 512, hidden = 1792;
    std::vector<char> memory(rt::Routing::bytes(tokens, k, experts) + 64);
    rt::Routing routing = rt::Routing::at(memory.data(), tokens, k, experts);
    std::vector<int64_t> ids(tokens * k);
    std::mt19937 random(1);
    for (int64_t i = 0; i < tokens * k; i += 2) {
      ids[i] = random() % experts;
      ids[i + 1] = (ids[i] + 1 + random() % (experts - 1)) % experts;
    }
    rt::route(ctx, routing, ids.data());
    const auto x = randomData<float>(tokens * k * width);
    const auto w = randomData<float>(experts * width * hidden);
    std::vector<float> y(tokens * k * hidden);
    const double time = timeOf([&] {
      rt::groupedGemm(ctx, {hidden, width}, routing, x.data(), w.data(), y.data());
    });
    const double rate = note("8 experts' products f32, 128 rows each, [512] x [512, 1792]",
                             2.0 * tokens * k * width * hidden, time);
    const double single = rates.matmulF32 * 128 / (128 + rates.matmulHalf);
    rates.grouped = std::min(1.0, rate / single);
  }

  void attention() {
    const int64_t batch = 4, heads = 12, sequence = 512, dim = 64;
    const int64_t size = batch * heads * sequence * dim;
    const auto q = randomData<float>(size), k = randomData<float>(size + 1), v = q;
    std::vector<float> out(size), dq(size), dk(size), dv(size), lse(batch * heads * sequence);
    rt::Attention shape{};
    shape.batch = batch;
    shape.heads = shape.kvHeads = heads;
    shape.queries = shape.keys = sequence;
    shape.dim = dim;
    shape.scale = 0.125f;
    shape.causal = true;
    const double flops = 2.0 * batch * heads * sequence * sequence * dim; // the half that is seen
    const double forward = timeOf([&] {
      rt::attention<float>(ctx, shape, q.data(), k.data(), v.data(), nullptr, nullptr, out.data(),
                           lse.data());
    });
    rates.attention = note("causal attention f32 4 x 12 x 512 x 64", flops, forward);
    const auto dout = randomData<float>(size);
    const double backward = timeOf([&] {
      rt::attentionGrad<float>(ctx, shape, q.data(), k.data(), v.data(), nullptr, nullptr,
                               out.data(), lse.data(), dout.data(), dq.data(), dk.data(),
                               dv.data());
    });
    rates.attentionBackward = note("  its gradient", 2.5 * flops, backward);
  }

  void traffic() {
    const int64_t count = int64_t(32) << 20; // far above caches
    auto from = randomData<float>(count);
    std::vector<float> to(count);
    const double copy = timeOf([&] {
      onThreads(ctx.threads, [&](int t) {
        const int64_t step = count / ctx.threads;
        std::memcpy(to.data() + t * step, from.data() + t * step, 4 * step);
      });
    });
    rates.bandwidth = note("copy of 128 MiB", 8.0 * count, copy, false);
    const rt::Rows rows{count / 1024, 1024, 1e-5f};
    const auto scale = randomData<float>(1024);
    const double norm = timeOf(
        [&] { rt::layerNorm(ctx, rows, from.data(), scale.data(), scale.data(), to.data()); });
    rates.kernelTraffic = note("layer norm f32 of 128 MiB", 8.0 * count, norm, false);
    const rt::Rows tiny{1, 16, 1e-5f};
    rates.overhead =
        timeOf([&] {
          for (int i = 0; i < 1000; ++i)
            rt::layerNorm(ctx, tiny, from.data(), scale.data(), scale.data(), to.data());
        }) /
        1000;
    rates.measured.push_back({"layer norm of 16 elements", rates.overhead, 0, false});
  }

  void link() {
    // Two threads take turns: one writes a message, the other copies it.
    const int64_t count = int64_t(4) << 20;
    std::vector<float> message = randomData<float>(count), received(count);
    std::atomic<int> turn{0};
    const int rounds = 16;
    std::vector<double> copies;
    std::thread writer([&] {
      for (int round = 0; round < rounds; ++round) {
        while (turn.load() != 2 * round)
          std::this_thread::yield();
        for (float &value : message)
          value += 1;
        turn = 2 * round + 1;
      }
    });
    for (int round = 0; round < rounds; ++round) {
      while (turn.load() != 2 * round + 1)
        std::this_thread::yield();
      const double start = now();
      std::memcpy(received.data(), message.data(), 4 * count);
      // Or the copy would not be made.
      asm volatile("" : : "r"(received.data()) : "memory");
      copies.push_back(now() - start);
      turn = 2 * round + 2;
    }
    writer.join();
    rates.linkBandwidth = note("copy of 16 MiB that another thread wrote", 4.0 * count,
                               *std::min_element(copies.begin(), copies.end()), false);

    single = false; // waiting is what takes the time
    const int turns = 2000;
    turn = 0;
    std::thread other([&] {
      for (int i = 0; i < turns; ++i) {
        while (turn.load() != 2 * i + 1)
          std::this_thread::yield();
        turn = 2 * i + 2;
      }
    });
    const double start = now();
    for (int i = 0; i < turns; ++i) {
      turn = 2 * i + 1;
      while (turn.load() != 2 * i + 2)
        std::this_thread::yield();
    }
    rates.linkLatency = (now() - start) / (2.0 * turns);
    other.join();
    rates.measured.push_back({"another thread sees a store", rates.linkLatency, 0, false});
  }
};

} // namespace

HostRates moire::plan::measureHost(int threads) { return Host(threads).measure(); }
