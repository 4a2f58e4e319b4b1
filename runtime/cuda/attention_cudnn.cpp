//===- attention_cudnn.cpp - Attention by cuDNN ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// cuDNN describes a fused attention as a graph that it compiles; its frontend,
// which is headers only, builds these graphs. Each shape is asked for once; what
// cuDNN refuses, and any program built without them, has our own kernels.
// The frontend is C++ for the host, so this file is not compiled by nvcc.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_cudnn.h"

#include <cstdio>

namespace moire::rt {
namespace {
/// Whose attention it is, said once for a context, by the first shape.
struct Announcement {
  bool told = false;
  void operator()(const std::string &whose) {
    if (!std::exchange(told, true))
      std::printf("attention: %s\n", whose.c_str());
  }
};
constexpr char kOurs[] = "Moiré's own kernels; ";
} // namespace
} // namespace moire::rt

#if defined(MOIRE_CUDNN)

#define CUDNN_FRONTEND_SKIP_JSON_LIB // for dumps of graphs; half of the compile time
#include <cuda_runtime.h>
#include <cudnn_frontend.h>

#include <array>
#include <map>
#include <tuple>

namespace moire::rt {

cudaStream_t streamOf(Context &ctx); // launch.h is for nvcc

namespace {
namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

/// Numbers of the tensors of a graph.
enum Id : int64_t { kQ = 1, kK, kV, kOut, kLse, kDOut, kDQ, kDK, kDV };

/// All that a graph depends on.
using Key = std::tuple<bool, std::array<int64_t, 6>, float, bool, std::array<int64_t, 24>>;

Key keyOf(bool gradient, const Attention &a) {
  std::array<int64_t, 24> strides;
  size_t i = 0;
  for (const Strides *s : {&a.q, &a.k, &a.v, &a.out, &a.dq, &a.dk, &a.dv, &a.dout})
    for (int64_t stride : {s->batch, s->head, s->row})
      strides[i++] = stride;
  return {gradient,
          {a.batch, a.heads, a.kvHeads, a.queries, a.keys, a.dim},
          a.scale,
          a.causal,
          strides};
}

struct Plan {
  std::unique_ptr<fe::graph::Graph> graph; ///< null: cuDNN has no kernel
  DeviceBlock workspace;                   ///< its own: captured steps point to it
};

struct Handle {
  cudnnHandle_t handle = nullptr;
  std::string problem; ///< why there is none
  Handle() {
    if (const cudnnStatus_t status = cudnnCreate(&handle); status != CUDNN_STATUS_SUCCESS) {
      problem = cudnnGetErrorString(status);
      handle = nullptr;
    }
  }
  ~Handle() {
    if (handle)
      cudnnDestroy(handle);
  }
};

Tensor tensor(fe::graph::Graph &graph, Id id, int64_t batch, int64_t heads, int64_t rows,
              int64_t columns, const Strides &s) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_uid(id)
                          .set_dim({batch, heads, rows, columns})
                          .set_stride({s.batch, s.head, s.row, 1}));
}
void output(const Tensor &t, Id id, int64_t batch, int64_t heads, int64_t rows, int64_t columns,
            const Strides &s) {
  t->set_output(true).set_uid(id).set_dim({batch, heads, rows, columns});
  t->set_stride({s.batch, s.head, s.row, 1});
}

std::unique_ptr<fe::graph::Graph> describe(const Attention &a, bool gradient) {
  auto graph = std::make_unique<fe::graph::Graph>();
  graph->set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const Strides lse{a.heads * a.queries, a.queries, 1};
  const Tensor q = tensor(*graph, kQ, a.batch, a.heads, a.queries, a.dim, a.q);
  const Tensor k = tensor(*graph, kK, a.batch, a.kvHeads, a.keys, a.dim, a.k);
  const Tensor v = tensor(*graph, kV, a.batch, a.kvHeads, a.keys, a.valueDim, a.v);
  if (!gradient) {
    auto options = fe::graph::SDPA_attributes().set_attn_scale(a.scale).set_generate_stats(true);
    if (a.causal)
      options.set_causal_mask(true);
    const auto [out, stats] = graph->sdpa(q, k, v, options);
    output(out, kOut, a.batch, a.heads, a.queries, a.valueDim, a.out);
    output(stats, kLse, a.batch, a.heads, a.queries, 1, lse);
    stats->set_data_type(fe::DataType_t::FLOAT);
    return graph;
  }
  const Tensor out = tensor(*graph, kOut, a.batch, a.heads, a.queries, a.valueDim, a.out);
  const Tensor stats = tensor(*graph, kLse, a.batch, a.heads, a.queries, 1, lse);
  stats->set_data_type(fe::DataType_t::FLOAT);
  const Tensor dout = tensor(*graph, kDOut, a.batch, a.heads, a.queries, a.valueDim, a.dout);
  auto options =
      fe::graph::SDPA_backward_attributes().set_attn_scale(a.scale).set_deterministic_algorithm(
          true);
  if (a.causal)
    options.set_causal_mask(true);
  const auto [dq, dk, dv] = graph->sdpa_backward(q, k, v, out, dout, stats, options);
  output(dq, kDQ, a.batch, a.heads, a.queries, a.dim, a.dq);
  output(dk, kDK, a.batch, a.kvHeads, a.keys, a.dim, a.dk);
  output(dv, kDV, a.batch, a.kvHeads, a.keys, a.valueDim, a.dv);
  return graph;
}
} // namespace

class AttentionPlans {
public:
  Handle cudnn;
  std::map<Key, Plan> plans;
  Announcement tell;

  Plan &find(const Attention &a, bool gradient) {
    auto [at, isNew] = plans.try_emplace(keyOf(gradient, a));
    Plan &plan = at->second;
    if (!isNew)
      return plan;
    if (!cudnn.handle) {
      tell(kOurs + ("cuDNN does not start: " + cudnn.problem));
      return plan;
    }
    auto graph = describe(a, gradient);
    int64_t bytes = 0;
    auto status = graph->build(cudnn.handle, {fe::HeurMode_t::A});
    if (status.is_good())
      status = graph->get_workspace_size(bytes);
    if (status.is_bad()) {
      tell(kOurs + ("cuDNN refuses it: " + status.get_message()));
      return plan;
    }
    tell("cuDNN " + std::to_string(cudnnGetVersion()));
    plan.workspace = DeviceBlock(bytes);
    plan.graph = std::move(graph);
    return plan;
  }

  void run(Context &ctx, Plan &plan, std::unordered_map<int64_t, void *> tensors) {
    if (const cudnnStatus_t status = cudnnSetStream(cudnn.handle, streamOf(ctx));
        status != CUDNN_STATUS_SUCCESS)
      throw RunError(std::string("cudnnSetStream failed: ") + cudnnGetErrorString(status));
    if (auto status = plan.graph->execute(cudnn.handle, tensors, plan.workspace.data());
        status.is_bad())
      throw RunError("cuDNN's attention failed: " + status.get_message());
  }
};
std::shared_ptr<AttentionPlans> createAttentionPlans() {
  return std::make_shared<AttentionPlans>();
}

namespace {
/// What is asked for at all. cuDNN knows additive biases, which a mask would have to
/// be made into; our own kernels read masks.
bool asks(AttentionPlans &plans, const Attention &a, const uint8_t *mask, const float *bias) {
  const bool square = !a.causal || (a.causalOffset == 0 && a.queries == a.keys);
  if (!mask && !bias && a.dim % 8 == 0 && a.valueDim % 8 == 0 && a.queries > 0 && a.keys > 0 &&
      square)
    return true;
  plans.tell(kOurs + std::string("there is a mask, or a shape that cuDNN is not asked for"));
  return false;
}
template <typename T> void *pointer(const T *p) { return const_cast<T *>(p); }
} // namespace

bool libraryAttention(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k, const bf16 *v,
                      const uint8_t *mask, const float *bias, bf16 *out, float *lse) {
  AttentionPlans &plans = attentionPlansOf(ctx);
  if (!asks(plans, a, mask, bias))
    return false;
  Plan &plan = plans.find(a, false);
  if (!plan.graph)
    return false;
  plans.run(ctx, plan,
            {{kQ, pointer(q)}, {kK, pointer(k)}, {kV, pointer(v)}, {kOut, out}, {kLse, lse}});
  return true;
}

bool libraryAttentionGrad(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k,
                          const bf16 *v, const uint8_t *mask, const float *bias, const bf16 *out,
                          const float *lse, const bf16 *dout, bf16 *dq, bf16 *dk, bf16 *dv) {
  AttentionPlans &plans = attentionPlansOf(ctx);
  if (!asks(plans, a, mask, bias))
    return false;
  Plan &plan = plans.find(a, true);
  if (!plan.graph)
    return false;
  plans.run(ctx, plan,
            {{kQ, pointer(q)},
             {kK, pointer(k)},
             {kV, pointer(v)},
             {kOut, pointer(out)},
             {kLse, pointer(lse)},
             {kDOut, pointer(dout)},
             {kDQ, dq},
             {kDK, dk},
             {kDV, dv}});
  return true;
}

} // namespace moire::rt

#else // without cuDNN

namespace moire::rt {

class AttentionPlans {
public:
  Announcement tell;
};
std::shared_ptr<AttentionPlans> createAttentionPlans() {
  return std::make_shared<AttentionPlans>();
}
static bool refuse(Context &ctx) {
  attentionPlansOf(ctx).tell(kOurs + std::string("the runtime was built without cuDNN"));
  return false;
}
bool libraryAttention(Context &ctx, const Attention &, const bf16 *, const bf16 *, const bf16 *,
                      const uint8_t *, const float *, bf16 *, float *) {
  return refuse(ctx);
}
bool libraryAttentionGrad(Context &ctx, const Attention &, const bf16 *, const bf16 *, const bf16 *,
                          const uint8_t *, const float *, const bf16 *, const float *, const bf16 *,
                          bf16 *, bf16 *, bf16 *) {
  return refuse(ctx);
}

} // namespace moire::rt

#endif
