//===- Edits.h - What can be left out of a module or made simpler -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIRE_REDUCE_EDITS_H
#define MOIRE_TOOLS_MOIRE_REDUCE_EDITS_H

#include "mlir/IR/BuiltinOps.h"

namespace moire::reduce {

/// One change that makes a module smaller. Returns false where it cannot be made, or not yet.
using Edit = std::function<bool()>;

/// All edits of one kind. They may be applied in their order, any of them left out; the same
/// module has the same edits in the same order.
using EditsOf = std::vector<Edit>(mlir::ModuleOp module);

/// The kinds, those first that leave out most.
llvm::ArrayRef<EditsOf *> allEdits();

} // namespace moire::reduce

#endif // MOIRE_TOOLS_MOIRE_REDUCE_EDITS_H
