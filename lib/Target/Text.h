//===- Text.h - Names, literals and layout of generated C++ --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_TEXT_H
#define MOIRE_LIB_TARGET_TEXT_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringSet.h"
#include <string>
#include <vector>

namespace moire::target {

/// Turns names into distinct C++ identifiers: `h.0.attn.weight` becomes
/// `h_0_attn_weight`, a second one `h_0_attn_weight_2`.
class Identifiers {
public:
  std::string make(llvm::StringRef name);

private:
  llvm::StringSet<> taken;
};

/// `"text"` with what needs it escaped.
std::string quoted(llvm::StringRef text);

/// A literal of exactly this value and of the C++ type of elements in memory or,
/// for i1, bool: `0.1f`, `HUGE_VALF`, `int64_t(3)`, `true`. Empty for types that
/// have none.
std::string literal(mlir::TypedAttr value);
std::string literal(float value);
std::string literal(double value);

/// The C++ type of an element in memory; empty for types that have none. A
/// scalar of i1 is a bool, in memory it is a uint8_t; one of bf16 is a float that
/// a bf16 holds exactly.
llvm::StringRef memoryType(mlir::Type element);
llvm::StringRef scalarType(mlir::Type element);

/// The ONNX nodes of an op, at most `most` of them by name; empty for none. own: what a name
/// stands for, in a function that several stages run.
std::string nodeNames(mlir::Location loc, unsigned most = 3,
                      llvm::function_ref<mlir::StringAttr(mlir::StringAttr)> own = nullptr);
/// The text on one line, without what would end a comment or continue its line.
std::string commentText(llvm::StringRef text);

/// `{1, 2, 3}`.
std::string braces(llvm::ArrayRef<int64_t> values);

/// A struct with designated initializers: fields that are added appear.
class Fields {
public:
  Fields &add(llvm::StringRef name, llvm::StringRef value);
  Fields &add(llvm::StringRef name, int64_t value) { return add(name, std::to_string(value)); }
  /// Only where it differs from the default.
  Fields &addUnless(llvm::StringRef name, int64_t value, int64_t usual);
  Fields &addIf(bool present, llvm::StringRef name, llvm::StringRef value);
  std::string str() const { return "{" + text + "}"; }

private:
  std::string text;
};

/// `callee(a, b, c);` over as many lines as a width of 100 needs.
std::string call(llvm::StringRef callee, const std::vector<std::string> &arguments,
                 unsigned indent = 2);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_TEXT_H
