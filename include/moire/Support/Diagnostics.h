//===- Diagnostics.h - Errors as users read them -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_DIAGNOSTICS_H
#define MOIRE_SUPPORT_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/raw_ostream.h"

namespace moire {

/// The ONNX node's name or the file and line that a location carries; empty
/// where it carries neither.
inline std::string describeLocation(mlir::Location loc) {
  if (auto name = loc->findInstanceOf<mlir::NameLoc>())
    return "node '" + name.getName().str() + "'";
  if (auto file = loc->findInstanceOf<mlir::FileLineColLoc>())
    return file.getFilename().str() + ":" + std::to_string(file.getLine());
  return {};
}

/// Prints the context's diagnostics to stderr as `error: sentence (node 'x')`,
/// which is the form of all tools that are not for compiler engineers.
class UserDiagnostics : public mlir::ScopedDiagnosticHandler {
public:
  explicit UserDiagnostics(mlir::MLIRContext *context) : ScopedDiagnosticHandler(context) {
    context->printOpOnDiagnostic(false); // one sentence, not pages of IR
    setHandler([](mlir::Diagnostic &diagnostic) {
      print(diagnostic);
      for (mlir::Diagnostic &note : diagnostic.getNotes())
        print(note);
    });
  }

private:
  static void print(mlir::Diagnostic &diagnostic) {
    llvm::raw_ostream &os = llvm::errs();
    switch (diagnostic.getSeverity()) {
    case mlir::DiagnosticSeverity::Error:
      os << "error: ";
      break;
    case mlir::DiagnosticSeverity::Warning:
      os << "warning: ";
      break;
    case mlir::DiagnosticSeverity::Note:
      os << "  ";
      break;
    case mlir::DiagnosticSeverity::Remark:
      os << "note: ";
      break;
    }
    std::string text = diagnostic.str(), where = describeLocation(diagnostic.getLocation());
    os << text;
    // A sentence that names its place already needs no second mention.
    size_t quote = where.find('\'');
    std::string name = quote == std::string::npos ? where : where.substr(quote);
    if (!where.empty() && text.find(name) == std::string::npos)
      os << " (" << where << ")";
    os << "\n";
  }
};

} // namespace moire

#endif // MOIRE_SUPPORT_DIAGNOSTICS_H
