//===- Recipes.h - Where the docs say how to export a model --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_RECIPES_H
#define MOIRE_SUPPORT_RECIPES_H

#include "llvm/ADT/Twine.h"

namespace moire {

/// The end of a refusal that another export of the same model would cure:
/// " (recipe: docs/exporting.md#SECTION)". A test compares the sections.
inline std::string recipe(const llvm::Twine &section) {
  return (" (recipe: docs/exporting.md#" + section + ")").str();
}

} // namespace moire

#endif // MOIRE_SUPPORT_RECIPES_H
