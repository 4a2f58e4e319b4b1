//===- Fields.cpp - Reads files of keys and values -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Fields.h"
#define TOML_EXCEPTIONS 0
#include "../Scheduling/Text.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <toml++/toml.h>

using namespace moire::cost;
using moire::scheduling::text;

//===----------------------------------------------------------------------===//
// Words
//===----------------------------------------------------------------------===//

std::string moire::cost::listOf(const std::vector<std::string> &words) {
  std::string list;
  for (size_t i = 0; i < words.size(); ++i)
    list += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return list;
}

/// Levenshtein's distance.
static size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

std::string moire::cost::nearest(const std::string &word, const std::vector<std::string> &words) {
  std::string best;
  size_t least = word.size() / 3 + 2;
  for (const std::string &candidate : words)
    if (const size_t d = distance(word, candidate); d < least) {
      least = d;
      best = candidate;
    }
  return best;
}

std::string moire::cost::number(double value) {
  const std::string plain = text(value);
  std::string digits = plain;
  size_t zeros = 0;
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++zeros;
  }
  const bool whole = plain.find_first_of(".e") == std::string::npos;
  return whole && zeros > 5 ? digits + "e" + std::to_string(zeros) : plain;
}

std::string moire::cost::quoted(const std::string &word) {
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\')
      out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
      continue;
    }
    out += c;
  }
  return out + "\"";
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

Refusal moire::cost::readText(const std::string &path, std::string &text) {
  struct stat status;
  std::string why;
  if (::stat(path.c_str(), &status) != 0)
    why = std::strerror(errno);
  else if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
    why = "it is not a file";
  std::ifstream file;
  if (why.empty()) {
    file.open(path, std::ios::binary);
    if (!file)
      why = std::strerror(errno);
  }
  if (!why.empty())
    return scheduling::text("cannot read '", path, "': ", why, "; give a file that can be read");
  text.assign(std::istreambuf_iterator<char>(file), {});
  return {};
}

static std::string nameOf(const Field &field) {
  return field.table.empty() ? field.key : field.table + "." + field.key;
}

static std::string placeOf(const std::string &table) {
  return table.empty() ? "the top of the file" : "table [" + table + "]";
}

/// `'h100.toml' line 3`.
static std::string where(const std::string &path, const toml::source_region &source) {
  return text("'", path, "' line ", source.begin.line);
}

static std::string typeOf(const toml::node &node) {
  switch (node.type()) {
  case toml::node_type::string:
    return "a string";
  case toml::node_type::integer:
  case toml::node_type::floating_point:
    return "a number";
  case toml::node_type::boolean:
    return "true or false";
  case toml::node_type::array:
    return "an array";
  case toml::node_type::table:
    return "a table";
  default:
    return "a date or time";
  }
}

static Refusal outOfRange(const Field &field, const std::string &at, const std::string &value) {
  std::string range;
  if (std::isinf(field.most))
    range = text(field.above ? "above " : "at least ", number(field.least));
  else if (field.above)
    range = text("above ", number(field.least), " and at most ", number(field.most));
  else
    range = text("from ", number(field.least), " to ", number(field.most));
  return text(at, ": ", nameOf(field), " is ", value, ", not ", range, "; write for example ",
              field.key, " = ", field.example);
}

static Refusal wrongType(const Field &field, const std::string &at, const toml::node &node,
                         const char *wanted) {
  return text(at, ": ", nameOf(field), " is ", typeOf(node), ", not ", wanted,
              "; write for example ", field.key, " = ", field.example);
}

static Refusal store(const Field &field, const std::string &at, const toml::node &node) {
  if (bool *const *to = std::get_if<bool *>(&field.value)) {
    if (!node.is_boolean())
      return wrongType(field, at, node, "true or false");
    **to = node.as_boolean()->get();
    return {};
  }
  if (std::string *const *to = std::get_if<std::string *>(&field.value)) {
    if (!node.is_string())
      return wrongType(field, at, node, "a string");
    const std::string word = node.as_string()->get();
    if (!field.words.empty() &&
        std::find(field.words.begin(), field.words.end(), word) == field.words.end())
      return text(at, ": ", nameOf(field), " is '", word, "', which is not known; use one of ",
                  listOf(field.words));
    **to = word;
    return {};
  }
  if (int *const *to = std::get_if<int *>(&field.value)) {
    // 8e9 is a float in TOML but a whole number to a person.
    const std::optional<double> value = node.value<double>();
    if (!node.is_number())
      return wrongType(field, at, node, "a whole number");
    if (*value != std::floor(*value))
      return text(at, ": ", nameOf(field), " is ", *value,
                  ", not a whole number; write for example ", field.key, " = ", field.example);
    if (!(*value >= field.least && *value <= std::min(field.most, 2147483647.0)))
      return outOfRange(field, at, number(*value));
    **to = static_cast<int>(*value);
    return {};
  }
  if (!node.is_number())
    return wrongType(field, at, node, "a number");
  const double value = *node.value<double>();
  if (!std::isfinite(value) || value > field.most || value < field.least ||
      (field.above && value == field.least))
    return outOfRange(field, at, number(value));
  *std::get<double *>(field.value) = value;
  return {};
}

/// Refuses a key of `table`, named `name`, that no field or table of fields has.
static Refusal checkKeys(const toml::table &table, const std::string &name, const std::string &path,
                         const std::vector<Field> &fields) {
  std::vector<std::string> keys, tables;
  std::set<std::string> seen;
  for (const Field &field : fields) {
    if (field.table == name)
      keys.push_back(field.key);
    const std::string prefix = name.empty() ? "" : name + ".";
    if (field.table.size() > name.size() && field.table.compare(0, prefix.size(), prefix) == 0) {
      const std::string rest = field.table.substr(prefix.size());
      if (seen.insert(rest.substr(0, rest.find('.'))).second)
        tables.push_back(rest.substr(0, rest.find('.')));
    }
  }
  for (const auto &[tomlKey, node] : table) {
    const std::string key(tomlKey.str());
    const std::string at = where(path, tomlKey.source());
    const bool isTable = std::find(tables.begin(), tables.end(), key) != tables.end();
    if (isTable) {
      const std::string inner = name.empty() ? key : name + "." + key;
      if (!node.is_table())
        return text(at, ": ", inner, " is ", typeOf(node), ", not a table; write [", inner, "]");
      if (Refusal refusal = checkKeys(*node.as_table(), inner, path, fields))
        return refusal;
      continue;
    }
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      continue;
    std::string known;
    if (!keys.empty())
      known = text("its keys are ", listOf(keys));
    if (!tables.empty())
      known += text(known.empty() ? "its tables are " : ", its tables ", listOf(tables));
    const std::string meant = nearest(key, node.is_table() ? tables : keys);
    return text(at, ": ", placeOf(name), " has no ", node.is_table() ? "table" : "key", " '", key,
                "'", meant.empty() ? "" : ", perhaps '" + meant + "' is meant", "; ", known);
  }
  return {};
}

Refusal moire::cost::readFields(const std::string &text, const std::string &path,
                                const std::vector<Field> &fields) {
  const toml::parse_result result = toml::parse(text, path);
  if (!result)
    return scheduling::text("'", path, "' line ", result.error().source().begin.line, ", column ",
                            result.error().source().begin.column,
                            " is not TOML: ", result.error().description());
  if (Refusal refusal = checkKeys(result.table(), "", path, fields))
    return refusal;
  for (const Field &field : fields) {
    // at_path takes no empty path.
    const toml::node_view<const toml::node> table =
        field.table.empty() ? toml::node_view<const toml::node>(result.table())
                            : result.table().at_path(field.table);
    const toml::node *node = table[field.key].node();
    if (node) {
      if (Refusal refusal = store(field, where(path, node->source()), *node))
        return refusal;
    } else if (field.required) {
      return scheduling::text("'", path, "': ", placeOf(field.table), " lacks the key '", field.key,
                              "'; write for example ", field.key, " = ", field.example);
    }
  }
  return {};
}
