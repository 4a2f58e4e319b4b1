//===- Json.h - As much JSON as the golden files need ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_SCHEDULING_JSON_H
#define MOIRE_TEST_SCHEDULING_JSON_H

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace testjson {

struct Value {
  enum { Null, Number, String, List, Object } type = Null;
  double number = 0;
  std::string string;
  std::vector<Value> list;
  std::map<std::string, Value> object;

  const Value &operator[](int i) const { return list.at(i); }
  const Value &operator[](const char *key) const { return object.at(key); }
  int integer() const { return static_cast<int>(number); }
  size_t size() const { return list.size(); }
};

class Parser {
public:
  explicit Parser(std::string text) : text(std::move(text)) {}
  Value value() {
    const char c = peek();
    Value result;
    if (c == '{' || c == '[') {
      const char close = c == '{' ? '}' : ']';
      result.type = c == '{' ? Value::Object : Value::List;
      ++at;
      while (peek() != close) {
        if (c == '[') {
          result.list.push_back(value());
        } else {
          std::string key = value().string;
          expect(':');
          result.object[key] = value();
        }
        if (peek() == ',')
          ++at;
      }
      ++at;
    } else if (c == '"') {
      const size_t end = text.find('"', at + 1); // golden files have no escapes
      result.type = Value::String;
      result.string = text.substr(at + 1, end - at - 1);
      at = end + 1;
    } else if (text.compare(at, 4, "null") == 0) {
      at += 4;
    } else {
      char *end = nullptr;
      result.type = Value::Number;
      result.number = std::strtod(text.c_str() + at, &end);
      if (end == text.c_str() + at)
        throw std::runtime_error("no JSON value at byte " + std::to_string(at));
      at = end - text.c_str();
    }
    return result;
  }

private:
  std::string text;
  size_t at = 0;
  char peek() {
    while (at < text.size() && isspace(static_cast<unsigned char>(text[at])))
      ++at;
    if (at == text.size())
      throw std::runtime_error("JSON ends early");
    return text[at];
  }
  void expect(char c) {
    if (peek() != c)
      throw std::runtime_error(std::string("expected ") + c);
    ++at;
  }
};

/// A file of the golden data: $MOIRE_VECTORS, or ../shared/vectors beside the checkout. False
/// where there is none.
inline bool readVectors(const char *name, Value &value) {
  const char *folder = std::getenv("MOIRE_VECTORS");
  for (std::string base : {std::string(folder ? folder : MOIRE_SOURCE_DIR "/../shared/vectors"),
                           std::string("../shared/vectors")}) {
    std::ifstream file(base + "/" + name);
    if (!file)
      continue;
    std::stringstream text;
    text << file.rdbuf();
    value = Parser(text.str()).value();
    return true;
  }
  return false;
}

} // namespace testjson

#endif // MOIRE_TEST_SCHEDULING_JSON_H
