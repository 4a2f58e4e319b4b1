//===- weights.h - Values of parameters -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WEIGHTS_H
#define MOIRE_RT_WEIGHTS_H

#include "moire/rt/context.h"

#include <string>

namespace moire::rt {

/// Fills ctx.params from --weights where given, else with fresh values where the
/// program was compiled with --init, else from the model's files. executable:
/// argv[0], what a relative modelPath starts from. On a mesh only the rank's shards are
/// read. Throws InputError.
void loadWeights(Context &ctx, const std::string &weights, uint64_t seed,
                 const std::string &executable);

/// Where the model lies that the program was compiled from.
std::string pathOfModel(const Program &program, const std::string &executable);
/// Throws InputError where a file of the model is not the one of the time of compilation.
/// file: as FileInfo::path names it; a file that the program has no fingerprint of passes.
void checkUnchanged(const Program &program, const std::string &file, const std::string &path);

/// The leading component ("m.") that all names share, see Program::namePrefix.
std::string commonPrefix(const Program &program);
/// What files that the trainer writes call a parameter: its PyTorch name without that prefix.
std::string savedName(const ParameterInfo &parameter, const std::string &prefix);

} // namespace moire::rt

#endif // MOIRE_RT_WEIGHTS_H
