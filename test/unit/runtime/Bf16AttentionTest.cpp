//===- Bf16AttentionTest.cpp - Attention of bf16 ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The float kernels are tested against plain loops in double; those on bf16
// against them on the same values.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/attention.h"

#include <array>

using namespace moire::rt;
using namespace moire::rt::test;

TEST(Bf16Attention, ComputesInFloat) {
  for (bool causal : {true, false})
    for (auto [heads, kvHeads, queries, dim] :
         {std::array<int64_t, 4>{4, 2, 37, 16}, {3, 3, 5, 7}, {2, 1, 60, 64}}) {
      Context ctx(2);
      Attention a{2, heads, kvHeads, queries, queries, dim};
      a.scale = 0.3f;
      a.causal = causal;
      const int64_t nq = 2 * heads * queries * dim, nk = 2 * kvHeads * queries * dim;
      // As projections give it: heads of a token beside each other.
      a.q = a.out = {queries * heads * dim, dim, heads * dim};
      a.k = a.v = {queries * kvHeads * dim, dim, kvHeads * dim};
      Rounded q(nq, 1), k(nk, 2), v(nk, 3), dout(nq, 4);
      Floats out(nq), lse(2 * heads * queries), lseGot(lse.size());
      std::vector<bf16> outB(nq);
      attention(ctx, a, q.wide.data(), k.wide.data(), v.wide.data(), nullptr, nullptr, out.data(),
                lse.data());
      attention(ctx, a, q.data(), k.data(), v.data(), nullptr, nullptr, outB.data(),
                lseGot.data());
      expectRounded(outB, out);
      expectNear(lseGot, lse, 1e-5);
      // The backward reads the rounded output: so does the float kernel here.
      Rounded o(out);
      Floats dq(nq), dk(nk), dv(nk);
      std::vector<bf16> dqB(nq), dkB(nk), dvB(nk);
      attentionGrad(ctx, a, q.wide.data(), k.wide.data(), v.wide.data(), nullptr, nullptr,
                    o.wide.data(), lse.data(), dout.wide.data(), dq.data(), dk.data(), dv.data());
      attentionGrad(ctx, a, q.data(), k.data(), v.data(), nullptr, nullptr, o.data(), lse.data(),
                    dout.data(), dqB.data(), dkB.data(), dvB.data());
      expectRounded(dqB, dq);
      expectRounded(dkB, dk);
      expectRounded(dvB, dv);
    }
}
