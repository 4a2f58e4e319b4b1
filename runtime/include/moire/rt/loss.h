//===- loss.h - Cross-entropy ---------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_LOSS_H
#define MOIRE_RT_LOSS_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

#include <vector>

namespace moire::rt {

/// logits [rows, vocab], labels [rows]; a row labelled ignoreIndex does not
/// count: loss 0, gradient 0. Another label outside [0, vocab) is a RunError
/// that names position, value and vocabulary.
struct CrossEntropy {
  int64_t rows, vocab;
  int64_t ignoreIndex = -100;
  int64_t seq = 0; ///< rows per sequence, for messages only; 0: one
};

/// Logits and their gradient are float or bf16, all arithmetic is float.

/// lse[r] = log Σ_v exp(logits[r, v]), losses[r] = lse[r] - logits[r, labels[r]].
template <typename T>
void crossEntropy(Context &ctx, const CrossEntropy &c, const T *logits,
                  const int64_t *labels, float *losses, float *lse);

/// dlogits[r, v] = (exp(logits[r, v] - lse[r]) - [v = labels[r]]) · dloss[r];
/// dloss [rows], or one value for all rows with dlossStride 0. dlogits may be
/// logits itself.
template <typename T>
void crossEntropyGrad(Context &ctx, const CrossEntropy &c, const T *logits,
                      const int64_t *labels, const float *lse,
                      const float *dloss, int64_t dlossStride, T *dlogits);

/// Both at once, each row while it is in the cache: losses, and dlogits for one
/// known cotangent *dloss of every row's loss (1/N). lse may be null.
template <typename T>
void crossEntropyWithGrad(Context &ctx, const CrossEntropy &c,
                          const T *logits, const int64_t *labels,
                          const float *dloss, float *losses, float *lse,
                          T *dlogits);

/// Who wants to see one row of the logits: the functions above give it before they change them.
struct LogitsTap {
  int64_t row = 0;           ///< counted over all calls since seen was 0
  int64_t seen = 0;          ///< rows so far
  std::vector<float> logits; ///< of that row
};
/// Called by them where ctx.tap is given. Waits for the device.
template <typename T> void tapLogits(Context &ctx, const CrossEntropy &c, const T *logits);

/// Adds the micro-batch's loss to ctx.outcome; sets it in the first one of a step.
void loss(Context &ctx, const float *value);
/// The same of one of two tasks.
void loss(Context &ctx, const TaskState &task, const float *value);

} // namespace moire::rt

#endif // MOIRE_RT_LOSS_H
