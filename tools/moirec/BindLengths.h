//===- BindLengths.h - moirec --bind seq=128|512 --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIREC_BINDLENGTHS_H
#define MOIRE_TOOLS_MOIREC_BINDLENGTHS_H

#include "moire/Pipelines/Pipelines.h"
#include "moire/Target/Program.h"
#include <optional>

namespace moire {

/// The lengths that --bind lists beside the longest one, longer ones first.
struct BoundLength {
  int64_t seq;
  std::vector<std::string> bind;
};

/// Where --bind has lists, batch=32|8,seq=128|512, whose i-th sizes belong together: leaves the
/// longest sequence's sizes in `options` and fills `others`. Returns the sentence where that is
/// wrong, an empty one where a diagnostic was given.
std::optional<std::string> readLengths(CompileOptions &options, std::vector<BoundLength> &others);

/// The others, with what the compiler chose for the first. False where a diagnostic was given.
bool compileOthers(const CompileOptions &options, const std::vector<BoundLength> &others,
                   mlir::ModuleOp first, mlir::MLIRContext &context,
                   std::vector<mlir::OwningOpRef<mlir::ModuleOp>> &modules,
                   std::vector<target::EmitSource> &sources);

/// The folder of --dump-phases for one of several lengths.
std::string dumpFolder(const std::string &folder, int64_t seq);

} // namespace moire

#endif // MOIRE_TOOLS_MOIREC_BINDLENGTHS_H
