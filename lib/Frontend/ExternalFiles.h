//===- ExternalFiles.h - Weight files beside the model -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_EXTERNALFILES_H
#define MOIRE_LIB_FRONTEND_EXTERNALFILES_H

#include "MappedFile.h"
#include "llvm/ADT/StringMap.h"
#include <optional>

namespace moire::frontend {

/// The files that a model names as external data. A location is untrusted: it
/// must lead to a regular file inside the model's folder, also behind links.
class ExternalFiles {
public:
  explicit ExternalFiles(std::string folder) : folder(std::move(folder)) {}

  struct File {
    std::unique_ptr<MappedFile> mapped; // null: not usable
    bool missing = false;               // merely not there
    std::string error;                  // rest of the sentence "external data 'location' …"
  };
  /// The result lives as long as this object.
  const File &get(llvm::StringRef location);

private:
  File open(const std::string &location);

  std::string folder;
  llvm::StringMap<File> files;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_EXTERNALFILES_H
