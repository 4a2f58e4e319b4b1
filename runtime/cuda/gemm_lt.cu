//===- gemm_lt.cu - Matrix products by cuBLASLt ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// cuBLASLt counts columns first. A row-major C [m, n] is its C' [n, m], so
//   C = op(A) · op(B)   ~~>   C' = op(B)' · op(A)',
// B comes first, and a matrix that we store [rows, columns] with `ld` elements
// between rows is [columns, rows] to it, with the same flag of transposition.
// The bias [n] lies along the rows of C', where its epilogue wants it. A residual is
// the C of D = AB + C. GELU's epilogue is the tanh form; it stores what it is taken
// of in rows that must be multiples of 8 elements.
//
//===----------------------------------------------------------------------===//

#include "cuda/gemm_lt.h"

#include "cuda/libraries.h"
#include "moire/rt/cuda/launch.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace moire::rt {

namespace {
void checkLt(cublasStatus_t status, const char *call, int line) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw RunError(std::string(call) + " failed at gemm_lt.cu:" + std::to_string(line) + ": " +
                   cublasLtGetStatusString(status));
}
#define MOIRE_LT(call) checkLt((call), #call, __LINE__)

/// Handles of the library that destroy themselves.
template <typename T, cublasStatus_t (*destroy)(T)> struct Destroy {
  using pointer = T;
  void operator()(T t) const { destroy(t); }
};
template <typename T, cublasStatus_t (*destroy)(T)>
using Handle = std::unique_ptr<std::remove_pointer_t<T>, Destroy<T, destroy>>;
using Operation = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <typename T> constexpr cudaDataType_t kType = CUDA_R_32F;
template <> constexpr cudaDataType_t kType<bf16> = CUDA_R_16BF;

enum class Bias : uint8_t { none, asFloat, asOutput };
/// What the sums go through besides the bias.
enum class After : uint8_t { none, gelu, geluKept };

/// All that the choice of an algorithm depends on.
using Key =
    std::tuple<int64_t, int64_t, int64_t, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t,
               int64_t, int64_t, bool, bool, After, int, int, uint32_t, uint32_t, uint32_t>;

/// The largest power of two that divides the address, at most 256.
uint32_t alignmentOf(const void *p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

Layout layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld, int64_t batch,
              int64_t stride) {
  cublasLtMatrixLayout_t l;
  MOIRE_LT(cublasLtMatrixLayoutCreate(&l, type, columns, rows, ld));
  Layout owner(l);
  if (batch > 1) {
    const auto count = static_cast<int32_t>(batch);
    MOIRE_LT(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                              sizeof(count)));
    MOIRE_LT(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                              &stride, sizeof(stride)));
  }
  return owner;
}

template <typename T>
void set(const Operation &op, cublasLtMatmulDescAttributes_t attribute, T value) {
  MOIRE_LT(cublasLtMatmulDescSetAttribute(op.get(), attribute, &value, sizeof(value)));
}
template <typename T>
void set(const Preference &p, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  MOIRE_LT(cublasLtMatmulPreferenceSetAttribute(p.get(), attribute, &value, sizeof(value)));
}

struct Plan {
  bool found = false;
  Bias bias = Bias::none;
  After after = After::none;
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

/// to[i] = from[i], rounded.
__global__ void roundKernel(int64_t n, const float *from, bf16 *to) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n)
    to[i] = bf16(from[i]);
}
} // namespace

class GemmPlans {
public:
  std::map<Key, Plan> plans;
};
std::shared_ptr<GemmPlans> createGemmPlans() { return std::make_shared<GemmPlans>(); }

namespace {
/// Asks for an algorithm; plan.found says whether there is one.
void choose(const Libraries &libraries, const Gemm &g, cudaDataType_t in, cudaDataType_t out,
            const uint32_t (&alignment)[3], Plan &plan) {
  cublasLtMatmulDesc_t op;
  MOIRE_LT(cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  plan.operation.reset(op);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, g.transB ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, g.transA ? CUBLAS_OP_T : CUBLAS_OP_N);
  const bool biased = plan.bias != Bias::none;
  cublasLtEpilogue_t epilogue = biased ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (plan.after == After::gelu)
    epilogue = biased ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  if (plan.after == After::geluKept) {
    epilogue = biased ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, g.ldc);
  }
  set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  if (biased)
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
        plan.bias == Bias::asFloat ? CUDA_R_32F : out);
  plan.a = layout(in, g.transB ? g.n : g.k, g.transB ? g.k : g.n, g.ldb, g.batch, g.strideB);
  plan.b = layout(in, g.transA ? g.k : g.m, g.transA ? g.m : g.k, g.lda, g.batch, g.strideA);
  plan.c = layout(out, g.m, g.n, g.ldc, g.batch, g.strideC);

  cublasLtMatmulPreference_t p;
  MOIRE_LT(cublasLtMatmulPreferenceCreate(&p));
  Preference preference(p);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(libraries.workspace.size()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment[1]);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment[0]);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment[2]);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment[2]);
  cublasLtMatmulHeuristicResult_t result;
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(libraries.lt, op, plan.a.get(), plan.b.get(), plan.c.get(),
                                     plan.c.get(), p, 1, &result, &count);
  plan.found =
      status == CUBLAS_STATUS_SUCCESS && count > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  if (plan.found)
    plan.algorithm = result.algo;
}
} // namespace

template <typename A, typename C>
bool libraryGemm(Context &ctx, const Gemm &given, const A *a, const A *b, C *c, const float *bias,
                 const Epilogue<C> &more) {
  if (given.k == 0 || (more.before && (given.ldc % 8 != 0 || alignmentOf(more.before) < 16)))
    return false;
  Libraries &libraries = librariesOf(ctx);
  Gemm g = given;
  if (more.residual)
    g.beta = 1;
  const C *added = more.residual ? more.residual : c;
  const After after = !more.gelu ? After::none : more.before ? After::geluKept : After::gelu;
  const uint32_t alignment[3] = {alignmentOf(a), alignmentOf(b),
                                 std::min(alignmentOf(c), alignmentOf(added))};
  const Key key{g.m,       g.n,       g.k,          g.transA,        g.transB,
                g.lda,     g.ldb,     g.ldc,        g.batch,         g.strideA,
                g.strideB, g.strideC, g.beta == 0,  bias != nullptr, after,
                kType<A>,  kType<C>,  alignment[0], alignment[1],    alignment[2]};
  auto [at, isNew] = libraries.gemms->plans.try_emplace(key);
  Plan &plan = at->second;
  if (isNew) {
    plan.bias = bias ? Bias::asFloat : Bias::none;
    plan.after = after;
    choose(libraries, g, kType<A>, kType<C>, alignment, plan);
    if (!plan.found && bias && std::is_same_v<C, bf16>) {
      // A float bias under a bf16 result is not for all shapes.
      plan.bias = Bias::asOutput;
      choose(libraries, g, kType<A>, kType<C>, alignment, plan);
    }
  }
  if (!plan.found)
    return false;
  if (plan.bias != Bias::none) {
    const void *epilogue = bias;
    if (plan.bias == Bias::asOutput) {
      auto *rounded = static_cast<bf16 *>(ctx.scratch(g.n * 2));
      MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>((g.n + 255) / 256)), dim3(256), 0,
                   roundKernel, g.n, bias, rounded);
      epilogue = rounded;
    }
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, epilogue);
  }
  if (plan.after == After::geluKept)
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
        static_cast<void *>(more.before));
  MOIRE_LT(cublasLtMatmul(libraries.lt, plan.operation.get(), &g.alpha, b, plan.a.get(), a,
                          plan.b.get(), &g.beta, added, plan.c.get(), c, plan.c.get(),
                          &plan.algorithm, libraries.workspace.data(), libraries.workspace.size(),
                          streamOf(ctx)));
  return true;
}

#define MOIRE_LIBRARY(A, C)                                                                        \
  template bool libraryGemm(Context &, const Gemm &, const A *, const A *, C *, const float *,     \
                            const Epilogue<C> &);
MOIRE_LIBRARY(float, float)
MOIRE_LIBRARY(bf16, bf16)
MOIRE_LIBRARY(bf16, float)
#undef MOIRE_LIBRARY

} // namespace moire::rt
