//===- NodeNames.h - Which ONNX node an op came from ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_NODENAMES_H
#define MOIRE_SUPPORT_NODENAMES_H

#include "mlir/IR/Location.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallVector.h"

namespace moire {

/// The names in a location, in order: those of the ONNX nodes that an op was made of.
inline llvm::SmallVector<mlir::StringAttr> nodesOf(mlir::Location location) {
  llvm::SmallVector<mlir::StringAttr> names;
  location->walk([&](mlir::Location inner) {
    if (auto named = mlir::dyn_cast<mlir::NameLoc>(inner))
      names.push_back(named.getName());
    return mlir::WalkResult::advance();
  });
  return names;
}

/// The first of them; null where there is none.
inline mlir::StringAttr firstNode(mlir::Location location) {
  mlir::StringAttr name;
  location->walk([&](mlir::Location inner) {
    auto named = mlir::dyn_cast<mlir::NameLoc>(inner);
    if (!named)
      return mlir::WalkResult::advance();
    name = named.getName();
    return mlir::WalkResult::interrupt();
  });
  return name;
}

/// "nn.matmul node_linear_3": an op and the first node that it was made of, for people.
inline std::string nameWithNode(mlir::Operation *op, llvm::StringRef detail = {}) {
  std::string name = (op->getName().getStringRef() + detail).str();
  if (mlir::StringAttr node = firstNode(op->getLoc()))
    name += " " + node.str();
  return name;
}

} // namespace moire

#endif // MOIRE_SUPPORT_NODENAMES_H
