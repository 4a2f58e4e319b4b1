//===- MistakesTest.cpp - What a slip in a schedule's text is answered ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Modules.h"
