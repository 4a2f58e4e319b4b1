//===- StageCuts.h - Where --stages or a file's annotations cut -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_STAGECUTS_H
#define MOIRE_LIB_FRONTEND_STAGECUTS_H

#include "Metadata.h"

namespace moire::frontend {

/// The value of moire.stage_cuts (see moire/Support/StageCuts.h) for a model and what --stages says:
///
///     8,8,7,9                    layers of each stage, by the numbers in the names of modules
///     after=NAME,after=NAME      behind a node, the node that makes a value, a module, or all nodes
///                                that a regular expression matches
///     configuration=NAME         the pipeline_stage annotations of that device configuration
///     auto                       none: null
///     (empty)                    the file's annotations where it has some, else null
///
/// Where it is wrong, null and a sentence in `error`.
mlir::DictionaryAttr readStageCuts(const pb::ModelProto &model, llvm::StringRef stages,
                                   mlir::MLIRContext *context, std::string &error);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_STAGECUTS_H
