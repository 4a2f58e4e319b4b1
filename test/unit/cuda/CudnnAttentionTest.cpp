//===- CudnnAttentionTest.cpp - cuDNN's attention beside our own ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// On a GPU only. cuDNN's outputs, log-sum-exps and gradients, of bf16, beside those
// of the plain float kernels for the same numbers.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_cudnn.h"

#include "TestUtil.h"
#include "moire/rt/device.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// [B, S, H, D] seen as [B, H, S, D], all given.
Strides interleaved(int64_t heads, int64_t rows, int64_t dim) {
  return {rows * heads * dim, dim, heads * dim};
}

void expectClose(const std::vector<bf16> &got, const Floats &want, double tolerance) {
  expectNear(Floats(got.begin(), got.end()), want, tolerance);
}
} // namespace

TEST(CudnnAttention, AgreesWithOurOwn) {
  Context ctx;
  int taken = 0;
  for (auto [heads, kvHeads, rows, dim] :
       {std::array<int64_t, 4>{4, 4, 128, 64}, {8, 2, 200, 64}, {2, 2, 512, 128}})
    for (bool causal : {true, false}) {
      const int64_t batch = 2;
      Attention a = {batch, heads, kvHeads, rows, rows, dim, dim};
      a.scale = float(1 / std::sqrt(double(dim)));
      a.causal = causal;
      a.q = a.out = a.dq = a.dout = interleaved(heads, rows, dim);
      a.k = a.v = a.dk = a.dv = interleaved(kvHeads, rows, dim);
      const int64_t n = batch * heads * rows * dim, nk = batch * kvHeads * rows * dim;
      Rounded q(n, 1), k(nk, 2), v(nk, 3), dout(n, 4);
      std::vector<bf16> out(n), dq(n), dk(nk), dv(nk);
      Floats lse(batch * heads * rows), wantLse(lse.size()), wantOut(n), wantQ(n), wantK(nk),
          wantV(nk);
      if (!libraryAttention(ctx, a, q.data(), k.data(), v.data(), nullptr, nullptr, out.data(),
                            lse.data()))
        continue;
      ++taken;
      attention(ctx, a, q.wide.data(), k.wide.data(), v.wide.data(), nullptr, nullptr,
                wantOut.data(), wantLse.data());
      expectNear(lse, wantLse, 1e-3);
      expectClose(out, wantOut, 1e-2);
      ASSERT_TRUE(libraryAttentionGrad(ctx, a, q.data(), k.data(), v.data(), nullptr, nullptr,
                                       out.data(), lse.data(), dout.data(), dq.data(), dk.data(),
                                       dv.data()));
      attentionGrad(ctx, a, q.wide.data(), k.wide.data(), v.wide.data(), nullptr, nullptr,
                    wantOut.data(), wantLse.data(), dout.wide.data(), wantQ.data(), wantK.data(),
                    wantV.data());
      expectClose(dq, wantQ, 2e-2);
      expectClose(dk, wantK, 2e-2);
      expectClose(dv, wantV, 2e-2);
    }
  if (!taken)
    GTEST_SKIP() << "the runtime was built without cuDNN, or cuDNN refuses all shapes";
}
