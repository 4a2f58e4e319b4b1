//===- moire-reduce.cpp - Makes a module that shows a fault small --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Reducer.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"
#include <CLI/CLI.hpp>

using namespace mlir;

static int fail(const llvm::Twine &message) {
  llvm::errs() << "error: " << message << "\n";
  return 1;
}

int main(int argc, char **argv) {
  llvm::InitLLVM initLLVM(argc, argv);
  CLI::App app(
      "Moiré: makes a module that shows a fault small\n\n"
      "  cat > test.sh <<'END'\n"
      "  #!/bin/sh\n"
      "  moire-opt \"$1\" --run-reproducer 2>&1 | grep -q 'has no statement'\n"
      "  END\n"
      "  chmod +x test.sh\n"
      "  moire-reduce moire-crash-1a2b3c.mlir --test ./test.sh -o small.mlir\n\n"
      "The script gets a module's file as its argument and exits with 0 where the module still\n"
      "shows the fault. It should look for the fault's own sentence: that some command fails\n"
      "is true of many modules. Ops are left out, or become zeros or one of their operands, and\n"
      "results, arguments and attributes are left out, as long as the script says 0. The\n"
      "pipeline of a crash reproducer stays in the file.",
      "moire-reduce");
  std::string input, script, output = "-";
  app.get_formatter()->column_width(34);
  app.add_option("file", input, "The module")->required()->type_name("FILE.mlir");
  app.add_option("--test", script, "What says whether a module is interesting")
      ->required()
      ->type_name("SCRIPT");
  app.add_option("-o", output, "The file to write")->type_name("FILE.mlir")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &help) {
    return app.exit(help);
  } catch (const CLI::ParseError &error) {
    return fail(std::string(error.what()) + "; moire-reduce --help lists the options");
  }
  if (!llvm::sys::fs::can_execute(script))
    return fail("--test '" + script +
                "' is not a file that can be executed; name a script, and chmod +x it");

  DialectRegistry registry;
  moire::registerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  context.loadDialect<arith::ArithDialect>(); // of the zeros
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler diagnostics(sources, &context);
  FallbackAsmResourceMap resources;
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(input, sources, ParserConfig(&context, true, &resources));
  if (!module)
    return 1;
  std::string error;
  auto file = openOutputFile(output, &error);
  if (!file)
    return fail(error);
  moire::reduce::Reducer reducer(*module, resources, script);
  if (error = reducer.run(); !error.empty())
    return fail(error);
  reducer.print(file->os());
  file->keep();
  llvm::errs() << "note: the script was run " << reducer.runs() << " times\n";
  return 0;
}
