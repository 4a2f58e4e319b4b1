//===- EquivalenceTest.cpp - Raised functions compute the same -----------===//
//
// Every function of the raising passes' lit tests, executed by the interpreter
// in double before and after the whole pipeline.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace moire::raise;

namespace {
struct Equivalence : Harness {
  void expectFileSame(StringRef name) {
    auto file = llvm::MemoryBuffer::getFile(TEST_DIR "/" + name.str());
    ASSERT_TRUE(file) << name.str();
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    SmallVector<StringRef> parts;
    (*file)->getBuffer().split(parts, "// -----");
    for (StringRef part : parts) {
      auto module = parseSourceString<ModuleOp>(part.str(), &context);
      ASSERT_TRUE(module) << part.str();
      for (auto func : module->getOps<func::FuncOp>()) {
        SCOPED_TRACE(func.getName().str());
        expectSame(func, buildRaisePipeline);
      }
    }
  }
};
} // namespace

TEST_F(Equivalence, Norms) { expectFileSame("norms.mlir"); }
TEST_F(Equivalence, Rope) { expectFileSame("rope.mlir"); }
TEST_F(Equivalence, Attention) { expectFileSame("attention.mlir"); }
TEST_F(Equivalence, Moe) { expectFileSame("moe.mlir"); }
TEST_F(Equivalence, MoeWarning) { expectFileSame("moe-warning.mlir"); }
TEST_F(Equivalence, Views) { expectFileSame("views.mlir"); }
