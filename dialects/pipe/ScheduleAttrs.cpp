//===- ScheduleAttrs.cpp - Costs of stages and links, as text ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Numbers.h"
#include "dialects/pipe/Pipe.h"
#include <charconv>
#include <cmath>

using namespace mlir;
using namespace moire::pipe;
using moire::scheduling::StageCost;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

std::string moire::pipe::numberText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  // MLIR knows no exponent without a point.
  size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos)
    text.insert(exponent, ".0");
  return text;
}

ParseResult moire::pipe::parseNumber(AsmParser &parser, double &value) {
  if (succeeded(parser.parseOptionalKeyword("inf"))) {
    value = INFINITY;
    return success();
  }
  if (succeeded(parser.parseOptionalKeyword("nan"))) {
    value = NAN;
    return success();
  }
  // AsmParser's own numbers are either whole or not, and -0.5 is neither.
  Attribute number;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseAttribute(number))
    return failure();
  if (auto real = dyn_cast<FloatAttr>(number))
    value = real.getValueAsDouble();
  else if (auto whole = dyn_cast<IntegerAttr>(number))
    value = whole.getValue().roundToDouble(/*isSigned=*/true);
  else
    return parser.emitError(where, "expected a number");
  return success();
}

//===----------------------------------------------------------------------===//
// #pipe.cost
//===----------------------------------------------------------------------===//

static constexpr std::pair<const char *, double StageCost::*> kCostKeys[] = {
    {"F", &StageCost::forward},
    {"B", &StageCost::backward},
    {"b", &StageCost::backwardInput},
    {"W", &StageCost::backwardWeight},
    {"FB", &StageCost::forwardWithBackward},
    {"Fb", &StageCost::forwardWithBackwardInput},
    {"FF", &StageCost::twoForwards},
    {"BB", &StageCost::twoBackwards},
    {"bb", &StageCost::twoBackwardInputs},
    {"F_collective", &StageCost::forwardCollective},
    {"B_collective", &StageCost::backwardCollective},
    {"parameters", &StageCost::parameterBytes},
    {"activation", &StageCost::activationBytes},
    {"weight_residual", &StageCost::weightResidualBytes},
    {"output", &StageCost::outputBytes}};
static_assert(sizeof(StageCost) == std::size(kCostKeys) * sizeof(double),
              "each cost needs its key here");
/// F, B, b and W are shown together: one of them says little without the others.
static constexpr size_t kTimes = 4;

bool Cost::operator==(const Cost &other) const {
  return std::memcmp(&value, &other.value, sizeof value) == 0;
}

llvm::hash_code moire::pipe::hash_value(const Cost &cost) {
  const auto *bytes = reinterpret_cast<const char *>(&cost.value);
  return llvm::hash_combine_range(bytes, bytes + sizeof cost.value);
}

Attribute CostAttr::parse(AsmParser &parser, Type) {
  Cost cost;
  SmallVector<StringRef> seen;
  auto parseOne = [&]() -> ParseResult {
    StringRef key;
    SMLoc where = parser.getCurrentLocation();
    if (parser.parseKeyword(&key))
      return failure();
    const auto *entry =
        llvm::find_if(kCostKeys, [&](const auto &candidate) { return key == candidate.first; });
    if (entry == std::end(kCostKeys)) {
      std::string known;
      for (const auto &[name, field] : kCostKeys)
        known += (known.empty() ? "" : ", ") + std::string(name);
      return parser.emitError(where, "no cost is named '") << key << "'; use one of " << known;
    }
    if (llvm::is_contained(seen, key))
      return parser.emitError(where, "cost '") << key << "' is given twice; leave one out";
    seen.push_back(key);
    return failure(parser.parseEqual() || parseNumber(parser, cost.value.*entry->second));
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, parseOne))
    return {};
  return CostAttr::get(parser.getContext(), cost);
}

void CostAttr::print(AsmPrinter &printer) const {
  const StageCost given = getValue().value, usual;
  bool times = false;
  for (size_t i = 0; i < kTimes; ++i)
    times |= given.*kCostKeys[i].second != usual.*kCostKeys[i].second;
  printer << "<";
  bool first = true;
  for (size_t i = 0; i < std::size(kCostKeys); ++i) {
    const auto &[key, field] = kCostKeys[i];
    if (given.*field == usual.*field && !(times && i < kTimes))
      continue;
    printer << (first ? "" : ", ") << key << " = " << numberText(given.*field);
    first = false;
  }
  printer << ">";
}

//===----------------------------------------------------------------------===//
// #pipe.link
//===----------------------------------------------------------------------===//

bool DirectedLink::operator==(const DirectedLink &other) const {
  return from == other.from && to == other.to && link.latency == other.link.latency &&
         link.bandwidth == other.link.bandwidth;
}

llvm::hash_code moire::pipe::hash_value(const DirectedLink &link) {
  return llvm::hash_combine(link.from, link.to, llvm::bit_cast<uint64_t>(link.link.latency),
                            llvm::bit_cast<uint64_t>(link.link.bandwidth));
}

Attribute LinkAttr::parse(AsmParser &parser, Type) {
  DirectedLink link;
  if (parser.parseLess() || parser.parseKeyword("from") || parser.parseInteger(link.from) ||
      parser.parseKeyword("to") || parser.parseInteger(link.to) || link.parseRates(parser) ||
      parser.parseGreater())
    return {};
  return LinkAttr::get(parser.getContext(), link);
}

void LinkAttr::print(AsmPrinter &printer) const {
  printer << "<from " << getValue().from << " to " << getValue().to;
  getValue().printRates(printer);
  printer << ">";
}

ParseResult DirectedLink::parseRates(AsmParser &parser) {
  if (succeeded(parser.parseOptionalKeyword("latency")) && parseNumber(parser, link.latency))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("bandwidth")) && parseNumber(parser, link.bandwidth))
    return failure();
  return success();
}

void DirectedLink::printRates(AsmPrinter &printer) const {
  if (link.latency != 0)
    printer << " latency " << numberText(link.latency);
  if (!(std::isinf(link.bandwidth) && link.bandwidth > 0))
    printer << " bandwidth " << numberText(link.bandwidth);
}
