//===- Gallery.h - All schedules on one page -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_GALLERY_H
#define MOIRE_SCHEDULING_GALLERY_H

#include <iosfwd>

namespace moire::scheduling {

/// docs/schedules.md: for each generator what it does, its bubble and memory at 8 ranks and at the
/// published costs of DeepSeek-V3, and its timetable on 4 ranks, in Markdown.
void writeGallery(std::ostream &out);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_GALLERY_H
