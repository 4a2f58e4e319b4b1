//===- Freeze.cpp - Marks parameters as frozen by name -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"
#include "llvm/Support/Regex.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINFREEZE
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {
struct TrainFreeze : train::impl::TrainFreezeBase<TrainFreeze> {
  using TrainFreezeBase::TrainFreezeBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::Regex regex(match);
    std::string why;
    if (!regex.isValid(why)) {
      emitError(module.getLoc(), "--freeze '") << match << "' is not a regular expression: " << why;
      return signalPassFailure();
    }
    bool matched = false;
    StringRef example;
    for (auto parameter : module.getOps<pipe::ParameterOp>()) {
      StringRef name = parameter.getTorchName().value_or(parameter.getSymName());
      if (regex.match(name)) {
        parameter.setFrozen(true);
        matched = true;
      } else if (example.empty()) {
        example = name;
      }
    }
    if (!matched) {
      auto error = emitError(module.getLoc(), "--freeze '")
                   << match << "' matches none of the model's parameters";
      if (!example.empty())
        error << ", which have names like '" << example << "'";
      error << "; --explain-params prints them";
      signalPassFailure();
    }
  }
};
} // namespace
