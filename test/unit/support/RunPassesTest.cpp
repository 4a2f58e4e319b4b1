//===- RunPassesTest.cpp - What a failing pass leaves behind -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Support/RunPasses.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/FileSystem.h"
#include <csignal>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

using namespace mlir;
using namespace moire;

namespace {

/// How the pass ends.
enum class End { well, refusal, silence, wrongIR, refusalOfWrongIR, segfault, abort };

struct FaultyPass : PassWrapper<FaultyPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FaultyPass)
  FaultyPass() = default;
  FaultyPass(End end, std::string name = "faulty") : end(end), name(std::move(name)) {}
  FaultyPass(const FaultyPass &other) : PassWrapper(other), end(other.end), name(other.name) {}
  StringRef getArgument() const override { return name; }

  void runOnOperation() override {
    // What a reproducer must not show: it holds what the passes were given.
    getOperation()->setAttr("changed", UnitAttr::get(&getContext()));
    switch (end) {
    case End::well:
      return;
    case End::refusal:
      getOperation().emitError("takes no function of this kind");
      return signalPassFailure();
    case End::silence:
      return signalPassFailure();
    case End::wrongIR:
      getOperation().getBody().front().getTerminator()->erase();
      return;
    case End::refusalOfWrongIR:
      getOperation().getBody().front().getTerminator()->erase();
      getOperation().emitError("takes no function of this kind");
      return signalPassFailure();
    case End::segfault:
      std::raise(SIGSEGV);
      return;
    case End::abort:
      std::abort();
    }
  }

  End end = End::well;
  std::string name = "faulty";
};

const char *const kModule = R"(
func.func @f(%x: f32) -> f32 {
  %y = arith.addf %x, %x : f32 loc("node")
  return %y : f32
})";

class RunPasses : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("moire-run-passes", folder));
    ASSERT_FALSE(llvm::sys::fs::current_path(before));
    ASSERT_FALSE(llvm::sys::fs::set_current_path(folder));
  }
  void TearDown() override {
    ASSERT_FALSE(llvm::sys::fs::set_current_path(before));
    ASSERT_FALSE(llvm::sys::fs::remove_directories(folder));
  }

  /// Of the module above, in a context of its own.
  LogicalResult run(End end, StringRef file = {}, std::string name = "faulty") {
    DialectRegistry registry;
    registerDialects(registry);
    MLIRContext context(registry, MLIRContext::Threading::DISABLED);
    ScopedDiagnosticHandler handler(&context,
                                    [&](Diagnostic &diagnostic) { said += diagnostic.str(); });
    auto module = parseSourceString<ModuleOp>(kModule, &context);
    PassManager passes(&context);
    passes.addPass(createSymbolDCEPass());
    passes.addNestedPass<func::FuncOp>(std::make_unique<FaultyPass>(end, name));
    return runPasses(passes, *module, file);
  }

  /// The files in the folder, and the text of the last of them.
  int files(std::string &text) {
    int count = 0;
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(folder, code), end; it != end; it.increment(code)) {
      std::ifstream file(it->path());
      std::stringstream all;
      all << file.rdbuf();
      text = all.str();
      ++count;
    }
    return count;
  }

  std::string said;
  llvm::SmallString<128> folder, before;
};

TEST_F(RunPasses, WhatSucceedsWritesNothing) {
  EXPECT_TRUE(succeeded(run(End::well)));
  EXPECT_TRUE(succeeded(run(End::well, "given.mlir")));
  std::string text;
  EXPECT_EQ(files(text), 0);
}

TEST_F(RunPasses, RefusalWritesWhereAFileIsGivenOnly) {
  EXPECT_TRUE(failed(run(End::refusal)));
  EXPECT_TRUE(failed(run(End::refusalOfWrongIR)));
  std::string text;
  EXPECT_EQ(files(text), 0);
  EXPECT_TRUE(failed(run(End::refusal, "given.mlir")));
  EXPECT_EQ(said, "takes no function of this kindtakes no function of this kind"
                  "takes no function of this kind");
  ASSERT_EQ(files(text), 1);
  EXPECT_NE(text.find("pipeline: \"builtin.module(symbol-dce,func.func(faulty))\""),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("changed"), std::string::npos) << text;
  EXPECT_NE(text.find("loc(\"node\")"), std::string::npos) << text;
}

/// The compiler's own faults: the process ends with a sentence, and a file shows it again.
TEST_F(RunPasses, FaultsWriteAndLeave) {
  const struct {
    End end;
    const char *name, *sentence;
  } cases[] = {
      {End::silence, "faulty",
       "error: pass faulty failed without a word, which is a fault of the compiler and not of its "
       "input; to see it again: moire-opt moire-crash-.*mlir --run-reproducer"},
      {End::wrongIR, "faulty", "error: pass faulty went wrong: .*terminator.*moire-crash-"},
      {End::refusal, "verify-faulty",
       "error: pass verify-faulty went wrong: takes no function of this kind, .*moire-crash-"},
      {End::segfault, "faulty", "error: pass faulty crashed .signal 11., .*moire-crash-"},
      {End::abort, "faulty", "error: pass faulty crashed .signal 6., .*moire-crash-"}};
  std::string text;
  int count = 0;
  for (const auto &c : cases) {
    SCOPED_TRACE(c.sentence);
    EXPECT_EXIT((void)run(c.end, {}, c.name), testing::ExitedWithCode(kCompilerFailed), c.sentence);
    EXPECT_EQ(files(text), ++count);
    EXPECT_NE(text.find("arith.addf"), std::string::npos);
    EXPECT_EQ(text.find("changed"), std::string::npos);
  }
  EXPECT_EXIT((void)run(End::segfault, "given.mlir"), testing::ExitedWithCode(kCompilerFailed),
              "to see it again: moire-opt given.mlir --run-reproducer");
  EXPECT_TRUE(llvm::sys::fs::exists("given.mlir"));
  EXPECT_EXIT((void)run(End::segfault, "nowhere/given.mlir"),
              testing::ExitedWithCode(kCompilerFailed),
              "cannot write 'nowhere/given.mlir'.*\n.*not of its input\n");
}

/// What --run-reproducer does with the file.
TEST_F(RunPasses, TheFileFailsAgain) {
  PassRegistration<FaultyPass> registration(
      [] { return std::make_unique<FaultyPass>(End::refusal); });
  registerTransformsPasses();
  EXPECT_TRUE(failed(run(End::refusal, "given.mlir")));
  said.clear();
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(&context,
                                  [&](Diagnostic &diagnostic) { said += diagnostic.str(); });
  ParserConfig config(&context);
  PassReproducerOptions options;
  options.attachResourceParser(config);
  auto module = parseSourceFile<ModuleOp>("given.mlir", config);
  ASSERT_TRUE(module);
  PassManager passes(&context);
  ASSERT_TRUE(succeeded(options.apply(passes)));
  EXPECT_TRUE(failed(passes.run(*module)));
  EXPECT_EQ(said, "takes no function of this kind");
}

} // namespace
