//===- Share.h - Files that come with the project --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_COSTMODEL_SHARE_H
#define MOIRE_COSTMODEL_SHARE_H

#include "moire/CostModel/Cluster.h"

namespace moire::cost {

/// The folder share/moire: beside the running program's folder where it is installed, else the
/// source's.
std::string shareFolder();

/// The file that `name` means: a path as it is, `h800` share/moire/KIND/h800.toml. Refuses a name
/// that has no file, with those that have one. `kind` is `clusters` or `models`.
Refusal resolve(const std::string &share, const std::string &kind, const std::string &name,
                std::string &path);

/// The names that resolve knows.
std::vector<std::string> namesIn(const std::string &share, const std::string &kind);

} // namespace moire::cost

#endif // MOIRE_COSTMODEL_SHARE_H
