//===- Bind.cpp - Sizes for the inputs' symbolic dimensions --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Conversion/Conversion.h"
#include "moire/Support/Recipes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

LogicalResult conversion::parseBindings(ArrayRef<std::string> texts, Bindings &bindings,
                                        std::string &error) {
  for (StringRef text : texts) {
    // The last sign: a dimension's own name may hold one.
    auto [name, size] = text.rsplit('=');
    int64_t value;
    if (name.trim().empty() || size.trim().getAsInteger(10, value) || value < 1) {
      error = ("binding '" + text + "' must be NAME=SIZE with a positive size, as in batch=2").str();
      return failure();
    }
    // So that products of a few sizes are numbers still.
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (value > kMost) {
      error = ("binding '" + text + "' is larger than a dimension can be, " + Twine(kMost) +
               "; bind a smaller size")
                  .str();
      return failure();
    }
    auto [it, isNew] = bindings.try_emplace(name.trim().str(), value);
    if (!isNew && it->second != value) {
      error = ("dimension '" + name.trim() + "' is bound to " + Twine(it->second) + " and to " +
               Twine(value) + "; bind it once")
                  .str();
      return failure();
    }
  }
  return success();
}

namespace {
/// sum := product (+|- product)*, product := factor (*|/|//|% factor)*,
/// factor := number | name | (sum) | -factor | function(sum, ...).
class DimParser {
public:
  DimParser(StringRef text, const Bindings &bindings, std::string &error)
      : text(text), rest(text), bindings(bindings), error(error) {}

  std::optional<int64_t> parse() {
    auto v = sum();
    skip();
    if (v && !rest.empty())
      return fail();
    return v;
  }

private:
  void skip() { rest = rest.ltrim(); }
  bool take(StringRef token) {
    skip();
    return rest.consume_front(token);
  }
  std::optional<int64_t> fail() {
    if (error.empty())
      error = ("'" + text + "' is not an expression of dimensions").str();
    return std::nullopt;
  }

  std::optional<int64_t> sum() {
    auto v = product();
    while (v) {
      bool plus = take("+");
      if (!plus && !take("-"))
        break;
      auto w = product();
      int64_t out;
      if (!w || (plus ? llvm::AddOverflow(*v, *w, out) : llvm::SubOverflow(*v, *w, out)))
        return fail();
      v = out;
    }
    return v;
  }
  std::optional<int64_t> product() {
    auto v = factor();
    while (v) {
      char op = take("//") || take("/") ? '/' : take("*") ? '*' : take("%") ? '%' : 0;
      if (!op)
        break;
      auto w = factor();
      int64_t out = 0;
      if (!w || (op != '*' && *w == 0) || (op == '*' && llvm::MulOverflow(*v, *w, out)))
        return fail();
      v = op == '*' ? out : op == '/' ? llvm::divideFloorSigned(*v, *w) : llvm::mod(*v, *w);
    }
    return v;
  }
  std::optional<int64_t> factor() {
    if (take("-")) {
      auto v = factor();
      return v ? std::optional<int64_t>(-*v) : v;
    }
    if (take("(")) {
      auto v = sum();
      return v && take(")") ? v : fail();
    }
    skip();
    StringRef word = rest.take_while([](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; });
    rest = rest.drop_front(word.size());
    int64_t number;
    if (word.empty())
      return fail();
    if (!word.getAsInteger(10, number))
      return number;
    if (take("("))
      return function(word);
    auto it = bindings.find(word);
    if (it == bindings.end()) {
      error = word.str();
      return std::nullopt;
    }
    return it->second;
  }
  /// What sympy prints: Max, Min, floor, ceiling.
  std::optional<int64_t> function(StringRef name) {
    auto v = sum();
    while (v && take(",")) {
      auto w = sum();
      if (!w)
        return fail();
      v = name == "Min" || name == "min" ? std::min(*v, *w) : std::max(*v, *w);
    }
    bool known = llvm::is_contained({"Max", "max", "Min", "min", "floor", "ceiling"}, name);
    return v && known && take(")") ? v : fail();
  }

  StringRef text, rest;
  const Bindings &bindings;
  std::string &error;
};
} // namespace

std::optional<int64_t> conversion::evaluateDim(StringRef expression, const Bindings &bindings,
                                               std::string &error) {
  // A name may look like an expression ("past-length").
  if (auto it = bindings.find(expression); it != bindings.end())
    return it->second;
  error.clear();
  return DimParser(expression, bindings, error).parse();
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

LogicalResult conversion::bindDimensions(ModuleOp module, const Bindings &bindings) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return module.emitError("module has no function @main; import an ONNX file first");
  if (failed(checkTrainable(main)))
    return failure();
  SmallVector<Type> types;
  std::vector<std::string> missing; // names, as --bind takes them
  std::string where;                // "dimension 'batch' of input 'input_ids'"
  for (BlockArgument arg : main.getArguments()) {
    auto nameAttr = main.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
    std::string name = nameAttr ? nameAttr.str() : ("#" + Twine(arg.getArgNumber())).str();
    auto dims = main.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "onnx.dims");
    types.push_back(arg.getType());
    if (isa<UnrankedTensorType>(arg.getType()))
      return emitError(main.getLoc())
             << "input '" << name << "' has no rank in the file; export it with a shape"
             << recipe("dimensions");
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    if (!type)
      continue; // refused by the conversion where it is used
    SmallVector<int64_t> shape(type.getShape());
    for (auto [i, size] : llvm::enumerate(shape)) {
      if (!ShapedType::isDynamic(size))
        continue;
      std::string dim = dims && i < dims.size() ? cast<StringAttr>(dims[i]).str() : "";
      std::string own = name + "." + std::to_string(i), unbound;
      std::optional<int64_t> value;
      if (auto it = bindings.find(own); it != bindings.end())
        value = it->second;
      else if (dim.empty())
        unbound = own;
      else
        value = evaluateDim(dim, bindings, unbound);
      if (value && *value < 1)
        return emitError(main.getLoc()) << "dimension '" << dim << "' of input '" << name << "' is "
                                        << *value << " under --bind, but must be positive";
      if (value) {
        size = *value;
        continue;
      }
      if (StringRef(unbound).contains(' ')) // malformed, not a name
        unbound = own;
      if (where.empty())
        where = "dimension '" + (dim.empty() ? std::to_string(i) : dim) + "' of input '" + name + "'";
      if (!llvm::is_contained(missing, unbound))
        missing.push_back(unbound);
    }
    types.back() = RankedTensorType::get(shape, type.getElementType());
  }
  if (!missing.empty()) {
    for (std::string &name : missing)
      name += "=SIZE";
    auto error = emitError(main.getLoc());
    error << where;
    if (missing.size() > 1)
      error << " and " << missing.size() - 1 << " more";
    return error << (missing.size() > 1 ? " have" : " has") << " no size; add --bind "
                 << llvm::join(missing, ",");
  }
  for (auto [arg, type] : llvm::zip(main.getArguments(), types))
    arg.setType(type);
  main.setFunctionType(
      FunctionType::get(module.getContext(), types, main.getFunctionType().getResults()));
  return success();
}
