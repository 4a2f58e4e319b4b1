//===- UpdateGroups.cpp - Parameters that rest together ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/UpdateGroups.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moire;
using namespace moire::pipe;

std::string pipe::refusalOfGroup(StringRef name) {
  const std::string quoted = "'" + name.str() + "' ";
  if (name.empty())
    return quoted + "has no name";
  if (name == "all" || name == "none")
    return quoted + "is what --update-schedule calls " + (name == "all" ? "each" : "no") +
           " group; choose another name";
  if (name.find_first_of("@+,=") != StringRef::npos ||
      llvm::any_of(name, [](char c) { return !llvm::isPrint(c) || c == ' '; }))
    return quoted + "must be an ASCII name without '@', '+', ',', '=' and blanks, which "
                    "--update-schedule reads otherwise";
  return {};
}

SmallVector<StringRef> pipe::updateGroupsOf(ModuleOp module) {
  llvm::SetVector<StringRef> names;
  for (auto parameter : module.getOps<ParameterOp>())
    if (parameter.getGroup())
      names.insert(*parameter.getGroup());
  return names.takeVector();
}

/// Behind the first entry: where the comma stands that ends it.
static size_t endOfEntry(StringRef text) {
  int depth = 0;
  bool inSet = false; // [a,b]: no bracket counts there
  for (size_t i = 0; i < text.size(); ++i)
    switch (text[i]) {
    case '\\':
      ++i;
      break;
    case '[':
      inSet = true;
      break;
    case ']':
      inSet = false;
      break;
    case '(':
    case '{':
      depth += !inSet;
      break;
    case ')':
    case '}':
      depth -= !inSet;
      break;
    case ',':
      if (!inSet && depth == 0)
        return i;
    }
  return text.size();
}

std::string UpdateGroups::parse(StringRef text) {
  bool more = !text.empty();
  for (StringRef rest = text; more;) {
    const size_t end = endOfEntry(rest);
    const StringRef entry = rest.take_front(end);
    more = end < rest.size();
    rest = rest.drop_front(end + more);
    StringRef name, pattern;
    std::tie(name, pattern) = entry.split('=');
    if (pattern.empty())
      return "--groups '" + entry.str() + "' must be NAME=REGEX";
    if (std::string why = refusalOfGroup(name); !why.empty())
      return "--groups: " + why;
    if (llvm::any_of(groups, [&](const Group &other) { return other.name == name; }))
      return "--groups names '" + name.str() + "' twice; write one regular expression for it, A|B";
    groups.push_back({name.str(), pattern.str(), llvm::Regex(pattern)});
    if (std::string why; !groups.back().regex.isValid(why))
      return "--groups '" + entry.str() + "': '" + pattern.str() +
             "' is not a regular expression: " + why;
  }
  if (groups.size() > kMostUpdateGroups)
    return "--groups has " + std::to_string(groups.size()) + " groups, of which a trainer keeps " +
           std::to_string(kMostUpdateGroups) + " at most; join some of them";
  return {};
}

StringRef UpdateGroups::match(StringRef parameter) {
  for (Group &group : groups)
    if (group.regex.match(parameter)) {
      group.matched = true;
      return group.name;
    }
  return {};
}

std::string UpdateGroups::unmatched() const {
  for (const Group &group : groups)
    if (!group.matched)
      return "--groups '" + group.name + "=" + group.pattern +
             "' gets no parameter: it matches none that is trained and that no group before it "
             "has; "
             "--explain-params prints them";
  return {};
}
