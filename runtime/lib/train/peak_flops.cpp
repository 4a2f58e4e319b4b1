//===- peak_flops.cpp - What a GPU can compute at most ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/peak_flops.h"

namespace moire::rt {

double knownPeakFlops(const std::string &device, bool bf16) {
  // TFLOP/s of NVIDIA's data sheets, without sparsity. The first that the name contains counts.
  static const struct {
    const char *name;
    double bf16, f32;
  } table[] = {
      {"H200 NVL", 836, 60}, {"H200", 989, 67}, {"H100 PCIe", 756, 51}, {"H100 NVL", 836, 60},
      {"H100", 989, 67},     {"H800", 989, 67}, {"A100", 312, 19.5},
  };
  for (const auto &row : table)
    if (device.find(row.name) != std::string::npos)
      return (bf16 ? row.bf16 : row.f32) * 1e12;
  return 0;
}

} // namespace moire::rt
