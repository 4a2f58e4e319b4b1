//===- context.h - One rank's state ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank is an object: there is no global state in the runtime, so several
// ranks can live in one process. Generated code sees pointers only:
//
//     gemm(ctx, {…}, ctx.at<float>(4096), ctx.param(0), ctx.at<float>(8192));
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CONTEXT_H
#define MOIRE_RT_CONTEXT_H

#include "moire/rt/program.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace moire::rt {

/// Wrong input or usage: exit code 1. The message is one sentence without
/// `error: `.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Failed in the run: exit code 2.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Zero-initialised memory, 64-byte aligned (huge pages where large).
class Block {
public:
  Block() = default;
  explicit Block(int64_t bytes);
  ~Block();
  Block(Block &&other) noexcept;
  Block &operator=(Block &&other) noexcept;
  char *data() const { return ptr; }
  int64_t size() const { return bytes; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(ptr); }

private:
  char *ptr = nullptr;
  int64_t bytes = 0;
};

/// Hyper-parameters of one step; lr is already the schedule's value.
struct Hyper {
  double lr = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weightDecay = 0;
  bool decayMatricesOnly = false; ///< parameters of rank < 2 do not decay
  double momentum = 0;
  double gradScale = 1; ///< clipping factor, multiplied into every gradient
  int64_t step = 1;     ///< 1 is the first
};

class GemmCache;

struct Context {
  /// Allocates all blocks of the program, and nothing per step afterwards.
  Context(const Program &program, int threads);
  /// Without a program: for tests of kernels.
  explicit Context(int threads = 1);
  ~Context();
  Context(const Context &) = delete;

  const Program *program = nullptr;
  int threads = 1;

  Block params, grads;
  Block m; ///< momentum buffer (SGD) or first moment (AdamW)
  Block v; ///< second moment (AdamW)
  Block arena;
  /// One per Program::inputs, in its order: the current micro-batch.
  const void **inputs = nullptr;

  Hyper hyper;
  float scale = 1;            ///< 1/N, also what the input of Role::scale points to
  int64_t microBatch = 0;     ///< index inside the step
  float loss = 0;             ///< out: set by microStep

  /// True for the first micro-batch of a step: gradients are set, not added to.
  bool first() const { return microBatch == 0; }
  /// 0 for the first micro-batch of a step, else 1: the beta of the first write
  /// of a micro-step into a parameter's gradient. A parameter with several uses
  /// passes 1 at the later ones.
  float beta() const { return first() ? 0.0f : 1.0f; }

  template <typename T> T *at(int64_t byteOffset) const {
    return reinterpret_cast<T *>(arena.data() + byteOffset);
  }
  float *param(int64_t element) const { return params.as<float>() + element; }
  float *grad(int64_t element) const { return grads.as<float>() + element; }
  template <typename T> const T *input(int64_t i) const {
    return static_cast<const T *>(inputs[i]);
  }

  /// Memory for a kernel's partial results, valid until the next call; grows to
  /// the largest request. Kernels that call one another must not both use it.
  void *scratch(int64_t bytes);
  int64_t scratchBytes() const { return scratchBlock.size(); }
  GemmCache &gemmCache() { return *gemms; }

private:
  Block scratchBlock;
  std::unique_ptr<const void *[]> inputStorage;
  std::unique_ptr<GemmCache> gemms;
};

} // namespace moire::rt

#endif // MOIRE_RT_CONTEXT_H
