//===- Elementwise.cu - The tests of launch(), for nvcc -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "ElementwiseShapesTest.cpp"
#include "ElementwiseTest.cpp"
