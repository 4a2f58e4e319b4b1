//===- Routers.h - What chooses experts in a program ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_ROUTERS_H
#define MOIRE_LIB_TARGET_ROUTERS_H

#include "ProgramInfo.h"

namespace moire::target {

/// Fills ProgramInfo::routers: of a pipeline those of stage 0, then those of stage 1, …
void collectRouters(ProgramInfo &info);

/// The number of a routing among those of its function, or of its task in a function of two.
size_t numberInFunction(exec::RouteOp route, const llvm::DenseSet<mlir::Operation *> &ofSecond);

/// The table of routers; nothing where there are none.
std::string routerTable(const ProgramInfo &info);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_ROUTERS_H
