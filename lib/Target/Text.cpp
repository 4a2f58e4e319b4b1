//===- Text.cpp - Names, literals and layout of generated C++ ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Text.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/SetVector.h"
#include <cctype>

using namespace mlir;
using namespace moire;

std::string target::Identifiers::make(StringRef name) {
  std::string base;
  for (char c : name) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) && static_cast<signed char>(c) >= 0;
    // No two underscores in a row: such names are the compiler's.
    if (plain)
      base += c;
    else if (!base.empty() && base.back() != '_')
      base += '_';
  }
  if (base.empty() || std::isdigit(static_cast<unsigned char>(base[0])))
    base = "x" + base;
  static const llvm::StringSet<> reserved = {
      "alignas", "alignof", "and",      "asm",      "auto",    "bool",     "break",    "case",
      "catch",   "char",    "class",    "const",    "continue", "default", "delete",   "do",
      "double",  "else",    "enum",     "explicit", "export",  "extern",   "false",    "float",
      "for",     "friend",  "goto",     "if",       "inline",  "int",      "long",     "mutable",
      "new",     "not",     "operator", "or",       "private", "public",   "register", "return",
      "short",   "signed",  "sizeof",   "static",   "struct",  "switch",   "template", "this",
      "throw",   "true",    "try",      "typedef",  "union",   "unsigned", "using",    "virtual",
      "void",    "volatile", "while",   "xor",      "linux",   "unix",     "errno",    "assert"};
  if (reserved.contains(base) || base.back() == '_')
    base += base.back() == '_' ? "x" : "_x";
  std::string result = base;
  for (int i = 2; !taken.insert(result).second; ++i)
    result = base + "_" + std::to_string(i);
  return result;
}

std::string target::quoted(StringRef text) {
  std::string result = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      result += '\\', result += c;
    else if (byte >= 32 && byte != 127)
      result += c; // UTF-8 passes
    else {
      char octal[8];
      std::snprintf(octal, sizeof octal, "\\%03o", byte);
      result += octal;
    }
  }
  return result + "\"";
}

/// The shortest decimal that reads back as `value`.
template <typename T, typename Read>
static std::string shortest(T value, int digits, Read read) {
  char text[48];
  for (int precision = digits - 3; precision <= digits; ++precision) {
    std::snprintf(text, sizeof text, "%.*g", precision, static_cast<double>(value));
    if (read(text) == value)
      break;
  }
  std::string result = text;
  if (result.find_first_of(".e") == std::string::npos)
    result += ".0";
  return result;
}

std::string target::literal(float value) {
  if (std::isnan(value))
    return "__builtin_nanf(\"\")";
  if (std::isinf(value))
    return value > 0 ? "HUGE_VALF" : "-HUGE_VALF";
  return shortest(value, 9, [](const char *s) { return std::strtof(s, nullptr); }) + "f";
}

std::string target::literal(double value) {
  if (std::isnan(value))
    return "__builtin_nan(\"\")";
  if (std::isinf(value))
    return value > 0 ? "HUGE_VAL" : "-HUGE_VAL";
  return shortest(value, 17, [](const char *s) { return std::strtod(s, nullptr); });
}

std::string target::literal(TypedAttr value) {
  if (auto f = dyn_cast<FloatAttr>(value)) {
    if (f.getType().isF32())
      return literal(f.getValue().convertToFloat());
    if (f.getType().isBF16())
      return "bf16(" + literal(f.getValue().convertToFloat()) + ")";
    return f.getType().isF64() ? literal(f.getValue().convertToDouble()) : "";
  }
  auto i = dyn_cast<IntegerAttr>(value);
  if (!i)
    return "";
  if (i.getType().isInteger(1))
    return i.getValue().isZero() ? "false" : "true";
  if (i.getType().isIndex() || scalarType(i.getType()).empty())
    return "";
  if (i.getValue().isMinSignedValue())
    return i.getType().isInteger(64) ? "INT64_MIN" : "INT32_MIN";
  return scalarType(i.getType()).str() + "(" + std::to_string(i.getValue().getSExtValue()) + ")";
}

StringRef target::memoryType(Type element) {
  if (element.isBF16())
    return "bf16";
  return element.isInteger(1) ? "uint8_t" : scalarType(element);
}

StringRef target::scalarType(Type element) {
  if (element.isF32() || element.isBF16())
    return "float";
  if (element.isF64())
    return "double";
  if (element.isSignlessInteger(64))
    return "int64_t";
  if (element.isSignlessInteger(32))
    return "int32_t";
  return element.isSignlessInteger(1) ? "bool" : "";
}

using OwnName = llvm::function_ref<StringAttr(StringAttr)>;

static void collectNames(Location loc, OwnName own, llvm::SmallSetVector<StringAttr, 4> &names) {
  if (auto name = dyn_cast<NameLoc>(loc))
    names.insert(own ? own(name.getName()) : name.getName());
  else if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location part : fused.getLocations())
      collectNames(part, own, names);
  else if (auto call = dyn_cast<CallSiteLoc>(loc))
    collectNames(call.getCallee(), own, names);
}

std::string target::nodeNames(Location loc, unsigned most, OwnName own) {
  llvm::SmallSetVector<StringAttr, 4> names;
  collectNames(loc, own, names);
  std::string result;
  for (auto [i, name] : llvm::enumerate(names)) {
    if (i == most)
      return result + " and " + std::to_string(names.size() - most) + " more";
    result += (i ? ", " : "") + commentText(name.getValue());
  }
  return result;
}

std::string target::commentText(StringRef text) {
  std::string result;
  for (char c : text)
    result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  // A backslash at the end would join the next line.
  while (!result.empty() && (result.back() == '\\' || result.back() == ' '))
    result.pop_back();
  return result;
}

std::string target::braces(ArrayRef<int64_t> values) {
  std::string result = "{";
  for (auto [i, value] : llvm::enumerate(values))
    result += (i ? ", " : "") + std::to_string(value);
  return result + "}";
}

target::Fields &target::Fields::add(StringRef name, StringRef value) {
  text += (text.empty() ? "." : ", .") + name.str() + " = " + value.str();
  return *this;
}
target::Fields &target::Fields::addUnless(StringRef name, int64_t value, int64_t usual) {
  return value == usual ? *this : add(name, value);
}
target::Fields &target::Fields::addIf(bool present, StringRef name, StringRef value) {
  return present ? add(name, value) : *this;
}

std::string target::call(StringRef callee, const std::vector<std::string> &arguments,
                         unsigned indent) {
  constexpr size_t kWidth = 100;
  std::string result(indent, ' ');
  size_t lineStart = 0;
  auto add = [&](StringRef piece, bool mayBreak, unsigned continuation) {
    bool first = result.back() == '(';
    if (mayBreak && !first && result.size() - lineStart + 1 + piece.size() > kWidth) {
      result += "\n";
      lineStart = result.size();
      result += std::string(continuation, ' ');
    } else if (!first) {
      result += " ";
    }
    result += piece;
  };
  result += callee.str() + "(";
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    std::string whole = argument + (i + 1 == arguments.size() ? ");" : ",");
    // A struct breaks between its fields where a line cannot hold it.
    StringRef rest = whole;
    bool breaks = indent + 4 + whole.size() > kWidth;
    for (size_t at; breaks && (at = rest.find(", .")) != StringRef::npos;
         rest = rest.drop_front(at + 2))
      add(rest.take_front(at + 1), true, indent + (rest.data() == whole.data() ? 4 : 5));
    add(rest, true, indent + (rest.data() == whole.data() ? 4 : 5));
  }
  return result + "\n";
}
