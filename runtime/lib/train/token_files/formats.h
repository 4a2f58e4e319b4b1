//===- formats.h - The formats of token files -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_FORMATS_H
#define MOIRE_RT_FORMATS_H

#include "train/token_files/token_file.h"

namespace moire::rt {

/// Whether its first bytes are those of the format.
bool isLlmC(const MappedFile &file);
bool isNpy(const MappedFile &file);

// All throw InputError unless the header is right and agrees with the file's size.

std::unique_ptr<TokenFile> openLlmC(MappedFile file);
std::unique_ptr<TokenFile> openNpy(MappedFile file);
/// The index and the tokens that it describes.
std::unique_ptr<TokenFile> openMegatron(MappedFile index, MappedFile tokens);
/// u16 or u32 without a header.
std::unique_ptr<TokenFile> openHeaderless(MappedFile file, TokenType type);

} // namespace moire::rt

#endif // MOIRE_RT_FORMATS_H
