//===- describe.cpp - The CPU in the log ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/bgemm.h"
#include "moire/rt/device.h"

namespace moire::rt {

std::string describeDevice(const Context &ctx) {
  std::string text = std::to_string(ctx.threads) + (ctx.threads == 1 ? " thread" : " threads");
  // Said once: whoever compares speeds should know.
  if (ctx.shadows.size())
    text += multipliesBf16() ? ", products of bf16 by oneDNN"
                             : ", products of bf16 widened to float: this processor has no AVX-512";
  return text;
}

} // namespace moire::rt
