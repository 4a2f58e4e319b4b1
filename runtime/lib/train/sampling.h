//===- sampling.h - Text that a model of bytes goes on with ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SAMPLING_H
#define MOIRE_RT_SAMPLING_H

#include "moire/rt/loss.h"
#include "train/data.h"

#include <string>

namespace moire::rt {

/// Goes on with a text, byte by byte: the forward of a micro-batch gives the logits behind it.
class Sampler {
public:
  /// Throws InputError where the program is no model of bytes that predicts the next one, or runs
  /// on many ranks.
  explicit Sampler(Context &ctx);

  /// The bytes that follow `prompt`, each of the model's distribution at this temperature: logits
  /// are divided by it; 0 takes the likeliest. What does not fit into the model's sequence is
  /// forgotten from the left. The same arguments give the same text.
  std::string goOn(const std::string &prompt, int64_t count, double temperature, uint64_t seed);

private:
  /// The logits behind the last byte of `text`.
  const std::vector<float> &logitsBehind(const std::string &text);

  Context &ctx;
  const Program &program;
  MicroBatch batch;
  int64_t tokens = -1; ///< the input
  int64_t context = 0; ///< bytes that logits may look back on
  LogitsTap tap;
};

} // namespace moire::rt

#endif // MOIRE_RT_SAMPLING_H
