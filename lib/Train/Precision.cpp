//===- Precision.cpp - Policies and rules of mixed precision -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Precision.h"

using namespace mlir;
using namespace moire;
using namespace moire::train;

static const PrecisionPolicy policies[] = {
    {"f32", [](MLIRContext *context) -> Type { return Float32Type::get(context); }},
    {"bf16", [](MLIRContext *context) -> Type { return BFloat16Type::get(context); }},
};

static const unsigned first[] = {0}, two[] = {0, 1}, three[] = {0, 1, 2};

static const PrecisionRule rules[] = {
    {"nn.matmul", two, Stored::rounded},
    {"nn.grouped_matmul", two, Stored::rounded},
    {"nn.attention", three, Stored::own},
    {"nn.rope", first, Stored::own},
    {"nn.combine", first, Stored::own},
    {"nn.cross_entropy", first, Stored::wide},
};

ArrayRef<PrecisionPolicy> train::precisionPolicies() { return policies; }

const PrecisionPolicy *train::findPrecisionPolicy(StringRef name) {
  const auto *it = llvm::find_if(policies, [&](const auto &policy) { return policy.name == name; });
  return it == std::end(policies) ? nullptr : it;
}

const PrecisionRule *train::findPrecisionRule(Operation *op) {
  StringRef name = op->getName().getStringRef();
  const auto *it = llvm::find_if(rules, [&](const auto &rule) { return rule.op == name; });
  return it == std::end(rules) ? nullptr : it;
}
