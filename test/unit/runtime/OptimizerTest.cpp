//===- OptimizerTest.cpp - Updates by PyTorch's formulas ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/device.h"
#include "moire/rt/optimizer.h"

using namespace moire::rt;
using namespace moire::rt::test;

// torch.optim.AdamW's documentation, algorithm, in double over three steps.
TEST(Optimizer, AdamWFollowsTheDocumentedAlgorithm) {
  Context ctx(2);
  for (bool decay : {true, false}) {
    const int64_t n = 40007;
    Floats p = random(n, 1), m(n), v(n);
    Doubles wp(p.begin(), p.end()), wm(n), wv(n);
    Hyper h;
    h.lr = 0.01;
    h.beta1 = 0.9;
    h.beta2 = 0.95;
    h.weightDecay = 0.1;
    h.gradScale = 0.5;
    for (h.step = 1; h.step <= 3; ++h.step) {
      Floats g = random(n, 10 + uint32_t(h.step));
      updateAdamW(ctx, h, n, decay, p.data(), g.data(), m.data(), v.data());
      for (int64_t i = 0; i < n; ++i) {
        double gi = 0.5 * g[i];
        wp[i] -= decay ? h.lr * h.weightDecay * wp[i] : 0;
        wm[i] = 0.9 * wm[i] + 0.1 * gi;
        wv[i] = 0.95 * wv[i] + 0.05 * gi * gi;
        double mh = wm[i] / (1 - std::pow(0.9, h.step)), vh = wv[i] / (1 - std::pow(0.95, h.step));
        wp[i] -= h.lr * mh / (std::sqrt(vh) + 1e-8);
      }
      expectNear(p, wp, 1e-6);
    }
    expectNear(m, wm, 1e-6);
    expectNear(v, wv, 1e-6);
  }
}

TEST(Optimizer, SGDWithMomentumAndDecay) {
  Context ctx(2);
  for (double momentum : {0.0, 0.9}) {
    const int64_t n = 1003;
    Floats p = random(n, 1), buf(n);
    Doubles wp(p.begin(), p.end()), wb(n);
    Hyper h;
    h.lr = 0.1;
    h.momentum = momentum;
    h.weightDecay = 0.01;
    for (h.step = 1; h.step <= 3; ++h.step) {
      Floats g = random(n, 20 + uint32_t(h.step));
      updateSGD(ctx, h, n, true, p.data(), g.data(), buf.data());
      for (int64_t i = 0; i < n; ++i) {
        double d = g[i] + 0.01 * wp[i];
        wb[i] = h.step == 1 ? d : momentum * wb[i] + d;
        wp[i] -= 0.1 * wb[i];
      }
    }
    expectNear(p, wp, 1e-6);
  }
}

TEST(Optimizer, NormCountsTrainedParametersOnlyAndClipIsPyTorchs) {
  const int64_t shapes[3][2] = {{300, 301}, {7, 1}, {5, 5}};
  ParameterInfo params[3] = {};
  int64_t at = 0;
  double want = 0;
  Floats values = random(200000, 4);
  Program program = {};
  for (int i = 0; i < 3; ++i) {
    params[i].rank = 2;
    params[i].shape = shapes[i];
    params[i].trainable = i != 2;
    params[i].offset = at;
    int64_t n = shapes[i][0] * shapes[i][1];
    for (int64_t j = at; params[i].trainable && j < at + n; ++j)
      want += double(values[j]) * values[j];
    at += (n + 15) / 16 * 16;
  }
  program.numParameters = 3;
  program.parameters = params;
  program.gradElements = program.paramElements = at;
  double bits[2];
  for (int threads : {1, 2}) {
    Context ctx(program, threads);
    std::copy(values.begin(), values.begin() + at, ctx.grad(0));
    bits[threads - 1] = globalNorm(ctx);
    EXPECT_NEAR(bits[threads - 1], std::sqrt(want), 1e-9 * std::sqrt(want));
  }
  EXPECT_EQ(bits[0], bits[1]);
  EXPECT_DOUBLE_EQ(clipFactor(2, 1), 1 / (2 + 1e-6));
  EXPECT_DOUBLE_EQ(clipFactor(0.5, 1), 1);
}

// Parameters of a group that rests keep what they are and the optimizer's state, count for no norm,
// and later go on with their own count of updates, as PyTorch's do while their gradient is None.
TEST(Optimizer, GroupsThatRest) {
  const int64_t sizes[3] = {70001, 33, 48};
  const int64_t shapes[3][1] = {{sizes[0]}, {sizes[1]}, {sizes[2]}};
  const char *const names[] = {"a", "b"};
  for (auto [kind, momentum] : {std::pair(OptimizerKind::adamw, 0.0),
                                {OptimizerKind::sgd, 0.9},
                                {OptimizerKind::sgd, 0.0}}) {
    SCOPED_TRACE(testing::Message() << int(kind) << " momentum " << momentum);
    ParameterInfo parameters[3] = {};
    Program p = {};
    for (int i = 0; i < 3; ++i) {
      parameters[i] = {"", "", 1, shapes[i], true, Init::ones, 0, p.paramElements, 0, nullptr};
      parameters[i].updateGroup = i - 1; // none, a, b
      p.paramElements += (sizes[i] + 15) / 16 * 16;
    }
    p.gradElements = p.paramElements;
    p.optimizer = kind;
    p.numParameters = 3;
    p.parameters = parameters;
    p.numUpdateGroups = 2;
    p.updateGroups = names;
    Context ctx(p, 2, momentum != 0);
    Doubles value[3], m[3], v[3];
    for (int i = 0; i < 3; ++i) {
      const Floats x = random(sizes[i], i);
      upload(ctx, ctx.param(parameters[i].offset), x.data(), sizes[i] * 4);
      value[i].assign(x.begin(), x.end());
      m[i].resize(sizes[i]);
      v[i].resize(sizes[i]);
    }
    ctx.hyper.lr = 0.01;
    ctx.hyper.beta2 = 0.95;
    ctx.hyper.weightDecay = 0.1;
    ctx.hyper.momentum = momentum;
    ctx.hyper.maxNorm = 5;
    const uint64_t masks[] = {1, 0, 3, 2, 3};
    int64_t updates[3] = {};
    for (int step = 1; step <= 5; ++step) {
      ctx.hyper.step = step;
      ctx.updates = masks[step - 1];
      auto isTrained = [&](int i) { return i == 0 || (ctx.updates >> (i - 1) & 1); };
      double squares = 0;
      Floats g[3];
      for (int i = 0; i < 3; ++i) {
        g[i] = isTrained(i) ? random(sizes[i], uint32_t(10 * step + i)) : Floats(sizes[i], NAN);
        upload(ctx, ctx.grad(parameters[i].offset), g[i].data(), sizes[i] * 4);
        updates[i] += isTrained(i);
        for (float x : g[i])
          squares += isTrained(i) ? double(x) * x : 0;
      }
      ctx.groupSteps = {updates[1], updates[2]};
      beginStep(ctx);
      endStep(ctx);
      const double norm = std::sqrt(squares), scale = std::min(1.0, 5 / (norm + 1e-6));
      EXPECT_NEAR(outcomeOfStep(ctx).norm, norm, 1e-9 * norm);
      const std::vector<GroupNorms> norms = updateNorms(ctx);
      ASSERT_EQ(norms.size(), 2u);
      for (int i = 0; i < 3; ++i) {
        double moved = 0, own = 0;
        for (int64_t j = 0; isTrained(i) && j < sizes[i]; ++j) {
          const double gj = scale * g[i][j], before = value[i][j];
          double by, decayed = 0;
          if (kind == OptimizerKind::adamw) {
            decayed = 0.01 * 0.1 * before;
            m[i][j] = 0.9 * m[i][j] + 0.1 * gj;
            v[i][j] = 0.95 * v[i][j] + 0.05 * gj * gj;
            const double t = double(updates[i]);
            by = 0.01 * m[i][j] / (1 - std::pow(0.9, t)) /
                 (std::sqrt(v[i][j] / (1 - std::pow(0.95, t))) + 1e-8);
          } else {
            m[i][j] = momentum * m[i][j] + gj + 0.1 * before;
            by = 0.01 * m[i][j];
          }
          value[i][j] -= decayed + by;
          const double told = kind == OptimizerKind::sgd && momentum == 0 ? 0.01 * gj : by;
          moved += told * told;
          own += value[i][j] * value[i][j];
        }
        Floats got(sizes[i]);
        download(ctx, got.data(), ctx.param(parameters[i].offset), sizes[i] * 4);
        expectNear(got, value[i], 2e-6);
        if (i == 0)
          continue;
        EXPECT_NEAR(norms[i - 1].update, std::sqrt(moved), 1e-5 * std::sqrt(moved));
        EXPECT_NEAR(norms[i - 1].value, std::sqrt(own), 1e-5 * std::sqrt(own));
      }
    }
  }
}

// A router's bias moves by its rate against the sign of its excess, whatever the learning
// rate and the clipping; its excess is no part of the norm.
TEST(Optimizer, RoutersBiasesMoveByTheSignOfTheirExcess) {
  const int64_t shape[] = {3};
  ParameterInfo parameters[2] = {};
  parameters[0] = {"w", "w", 1, shape, true, Init::ones, 0, 0, 0, nullptr};
  parameters[1] = {"b", "b", 1, shape, true, Init::zeros, 0, 16, 0, nullptr};
  parameters[1].balanceRate = 0.25f;
  Program p{};
  p.optimizer = OptimizerKind::sgd;
  p.paramElements = p.gradElements = 32;
  p.numParameters = 2;
  p.parameters = parameters;
  Context ctx(p, 1);
  const float w[] = {1, 2, 3}, g[] = {3, 0, 4}, b[] = {0.5f, 0.5f, 0.5f}, excess[] = {12, 0, -4};
  upload(ctx, ctx.param(0), w, sizeof w);
  upload(ctx, ctx.grad(0), g, sizeof g);
  upload(ctx, ctx.param(16), b, sizeof b);
  upload(ctx, ctx.grad(16), excess, sizeof excess);
  ctx.hyper.lr = 0.1;
  ctx.hyper.maxNorm = 2.5;
  beginStep(ctx);
  endStep(ctx);
  EXPECT_EQ(outcomeOfStep(ctx).norm, 5);
  float gotW[3], gotB[3];
  download(ctx, gotW, ctx.param(0), sizeof gotW);
  download(ctx, gotB, ctx.param(16), sizeof gotB);
  for (int i = 0; i < 3; ++i)
    EXPECT_NEAR(gotW[i], w[i] - 0.1f * g[i] / 2, 1e-6);
  EXPECT_EQ(gotB[0], 0.25f);
  EXPECT_EQ(gotB[1], 0.5f);
  EXPECT_EQ(gotB[2], 0.75f);
}
