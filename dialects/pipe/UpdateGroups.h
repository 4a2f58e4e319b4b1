//===- UpdateGroups.h - Parameters that rest together ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_UPDATEGROUPS_H
#define MOIRE_DIALECTS_PIPE_UPDATEGROUPS_H

#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Regex.h"

namespace moire::pipe {

/// What steps say of groups is a mask of so many bits.
inline constexpr size_t kMostUpdateGroups = 64;

/// "'a+b' …": why a group cannot have this name, since a trainer's --update-schedule could not
/// tell it; empty where it can.
std::string refusalOfGroup(llvm::StringRef name);

/// Names of the parameters' groups, in the order of the first parameter of each.
llvm::SmallVector<llvm::StringRef> updateGroupsOf(mlir::ModuleOp module);

/// What --groups asks for.
class UpdateGroups {
public:
  /// Reads NAME=REGEX,NAME=REGEX,…; commas inside of a regex's brackets and braces, or behind
  /// a backslash, are its own. Returns a sentence where that cannot be; empty where it can.
  std::string parse(llvm::StringRef text);
  /// The name of the first group whose regex finds it; empty where none does.
  llvm::StringRef match(llvm::StringRef parameter);
  /// A sentence about a group that match() gave to no parameter; empty where each has one.
  std::string unmatched() const;

private:
  struct Group {
    std::string name, pattern;
    llvm::Regex regex;
    bool matched = false;
  };
  std::vector<Group> groups;
};

} // namespace moire::pipe

#endif // MOIRE_DIALECTS_PIPE_UPDATEGROUPS_H
