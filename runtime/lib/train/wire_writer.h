//===- wire_writer.h - Writing the protobuf wire format -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The other side of wire.h: fields are appended to a string.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WIRE_WRITER_H
#define MOIRE_RT_WIRE_WRITER_H

#include <cstdint>
#include <cstring>
#include <string>

namespace moire::rt {

class WireWriter {
public:
  /// Wire type 0: int32, int64, uint64, bool and enum.
  WireWriter &integer(uint32_t field, int64_t value) {
    varint(uint64_t(field) << 3);
    varint(uint64_t(value));
    return *this;
  }
  WireWriter &number(uint32_t field, double value) { return fixed(field, 1, value); }
  WireWriter &number(uint32_t field, float value) { return fixed(field, 5, value); }
  /// A string, bytes, or another message's.
  WireWriter &bytes(uint32_t field, const std::string &value) {
    varint(uint64_t(field) << 3 | 2);
    varint(value.size());
    text += value;
    return *this;
  }
  const std::string &str() const { return text; }

private:
  void varint(uint64_t v) {
    for (; v >= 128; v >>= 7)
      text += char(v | 128);
    text += char(v);
  }
  template <typename T> WireWriter &fixed(uint32_t field, uint32_t type, T value) {
    varint(uint64_t(field) << 3 | type);
    char little[sizeof value];
    std::memcpy(little, &value, sizeof value);
    text.append(little, sizeof value);
    return *this;
  }

  std::string text;
};

} // namespace moire::rt

#endif // MOIRE_RT_WIRE_WRITER_H
