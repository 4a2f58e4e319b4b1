//===- kernels.h - All kernels that generated code calls ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every kernel takes the context first, then its shape as a small struct, then
// inputs, then outputs; all tensors are dense row-major unless strides are in
// the struct. `beta` of a result is 0 (overwrite, never read) or 1 (add to).
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_KERNELS_H
#define MOIRE_RT_KERNELS_H

#include "moire/rt/attention.h"
#include "moire/rt/balance.h"
#include "moire/rt/collectives.h"
#include "moire/rt/context.h"
#include "moire/rt/elementwise.h"
#include "moire/rt/gemm.h"
#include "moire/rt/loss.h"
#include "moire/rt/math.h"
#include "moire/rt/norm.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/program.h"
#include "moire/rt/routing.h"
#include "moire/rt/tensor.h"

#endif // MOIRE_RT_KERNELS_H
