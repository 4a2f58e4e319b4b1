//===- wire.h - Reading the protobuf wire format --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A message is a sequence of fields, each a varint tag (number · 8 + wire type)
// and a value: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes
// (protobuf.dev, "Encoding"). Every length is checked against what is left.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WIRE_H
#define MOIRE_RT_WIRE_H

#include "moire/rt/context.h"

#include <cstdint>
#include <string>

namespace moire::rt {

/// A piece of a message's bytes.
struct Span {
  const unsigned char *data = nullptr;
  int64_t size = 0;
  std::string str() const {
    return std::string(reinterpret_cast<const char *>(data), size);
  }
};

class WireReader {
public:
  WireReader(Span bytes, const std::string &what)
      : p(bytes.data), end(bytes.data + bytes.size), what(what) {}

  uint32_t field = 0, type = 0;
  uint64_t value = 0; ///< of types 0, 1 and 5
  Span bytes;         ///< of types 1, 2 and 5
  const unsigned char *begin = nullptr; ///< of the field, with its tag

  /// Moves to the next field; false at the end.
  bool next() {
    if (p == end)
      return false;
    begin = p;
    const uint64_t tag = varint();
    field = uint32_t(tag >> 3);
    type = tag & 7;
    if (field == 0)
      fail("has a field numbered 0");
    switch (type) {
    case 0:
      value = varint();
      return true;
    case 1:
      take(8);
      return true;
    case 2: {
      const uint64_t n = varint();
      if (n > uint64_t(end - p))
        fail("is cut off");
      take(n);
      return true;
    }
    case 5:
      take(4);
      return true;
    default:
      fail("has a field of unknown wire type " + std::to_string(type));
    }
  }

  /// For packed varints: reads one from bytes.
  static bool packed(Span &s, uint64_t &out, const std::string &what) {
    if (s.size == 0)
      return false;
    WireReader r(s, what);
    out = r.varint();
    s.size -= r.p - s.data;
    s.data = r.p;
    return true;
  }

  [[noreturn]] void fail(const std::string &problem) const {
    throw InputError("'" + what + "' is not a valid protobuf file: it " + problem);
  }

private:
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (p == end)
        fail("is cut off");
      const unsigned char byte = *p++;
      v |= uint64_t(byte & 127) << shift;
      if (byte < 128)
        return v;
    }
    fail("has a number of more than ten bytes");
  }
  void take(uint64_t n) {
    if (n > uint64_t(end - p))
      fail("is cut off");
    bytes = {p, int64_t(n)};
    p += n;
    value = 0;
    if (n <= 8)
      for (uint64_t i = 0; i < n; ++i)
        value |= uint64_t(bytes.data[i]) << (8 * i);
  }

  const unsigned char *p, *end;
  std::string what;
};

} // namespace moire::rt

#endif // MOIRE_RT_WIRE_H
