//===- Folder.h - An output folder that appears whole or not at all ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_FOLDER_H
#define MOIRE_LIB_TARGET_FOLDER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace moire::target {

/// moire.json with this key marks a folder that Moiré wrote.
inline constexpr const char *kMarkerFile = "moire.json";
inline constexpr const char *kMarkerKey = "moire_output";

/// A folder beside the wanted one, which it becomes by commit(). Without commit
/// it is removed and the wanted one is as it was.
class OutputFolder {
public:
  /// Refuses a path that is a file or a folder with other contents than Moiré's.
  static llvm::Expected<std::unique_ptr<OutputFolder>> create(llvm::StringRef path);
  ~OutputFolder();

  const std::string &path() const { return temporary; }
  /// The wanted folder without a slash at its end.
  const std::string &target() const { return wanted; }
  llvm::Error write(llvm::StringRef name, llvm::StringRef text);
  llvm::Error copyFile(llvm::StringRef from, llvm::StringRef to);
  /// Copies the C++ files under the folder `from` to the folder `to`.
  llvm::Error copyTree(llvm::StringRef from, llvm::StringRef to);
  /// Puts the folder in its place. What the user put into the old one stays.
  llvm::Error commit();

private:
  OutputFolder(std::string wanted, std::string temporary)
      : wanted(std::move(wanted)), temporary(std::move(temporary)) {}
  std::string wanted, temporary;
  bool committed = false;
};

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_FOLDER_H
