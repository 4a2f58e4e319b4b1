//===- gradients_file.h - The gradients of a step as a file ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GRADIENTS_FILE_H
#define MOIRE_RT_GRADIENTS_FILE_H

#include "moire/rt/context.h"

#include <string>

namespace moire::rt {

/// Writes the gradients of the logical parameters by PyTorch's names, without the
/// prefix that all share. On a mesh all ranks call it and rank 0 writes. Throws RunError.
void writeGradients(Context &ctx, const std::string &path);

} // namespace moire::rt

#endif // MOIRE_RT_GRADIENTS_FILE_H
