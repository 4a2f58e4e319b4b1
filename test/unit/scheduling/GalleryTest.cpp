//===- GalleryTest.cpp - docs/schedules.md is current ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Gallery.h"
#include "gtest/gtest.h"
#include <cstdlib>
#include <fstream>
#include <sstream>

TEST(Gallery, IsCurrent) {
  std::ostringstream page;
  moire::scheduling::writeGallery(page);
  const char *const path = MOIRE_SOURCE_DIR "/docs/schedules.md";
  if (std::getenv("MOIRE_UPDATE"))
    std::ofstream(path) << page.str();
  std::ifstream file(path);
  std::stringstream kept;
  kept << file.rdbuf();
  EXPECT_TRUE(page.str() == kept.str())
      << "docs/schedules.md is not what the schedules give; run this with MOIRE_UPDATE=1";
}
