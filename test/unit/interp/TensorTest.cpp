//===- TensorTest.cpp - Conversions of the interpreter's tensors ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include "mlir/AsmParser/AsmParser.h"
#include <cstring>

using namespace mlir;
using namespace moire::interp;

namespace {

struct TensorTest : Interp {
  /// An attribute survives the way through a tensor.
  void expectRoundTrip(StringRef text) {
    Attribute attribute = parseAttribute(text, &context);
    ASSERT_TRUE(attribute) << text.str();
    auto tensor = Tensor::fromAttribute(attribute);
    ASSERT_TRUE(succeeded(tensor)) << text.str();
    EXPECT_EQ(tensor->toAttribute(), attribute) << text.str();
  }
  template <typename T>
  SmallVector<char> bytes(std::initializer_list<T> values) {
    SmallVector<char> out(values.size() * sizeof(T));
    std::memcpy(out.data(), values.begin(), out.size());
    return out;
  }
};

TEST_F(TensorTest, AttributesSurvive) {
  expectRoundTrip("dense<[[1.5, -2.0], [0.1, 3.0e38]]> : tensor<2x2xf32>");
  expectRoundTrip("dense<[1.0e300, -0.1]> : tensor<2xf64>");
  expectRoundTrip("dense<[1.5, -2.0]> : tensor<2xbf16>");
  expectRoundTrip("dense<[1.5, -65504.0]> : tensor<2xf16>");
  expectRoundTrip("dense<[-1, 9223372036854775807]> : tensor<2xi64>");
  expectRoundTrip("dense<[-128, 127]> : tensor<2xi8>");
  expectRoundTrip("dense<[-5, 2147483647]> : tensor<2xi32>");
  expectRoundTrip("dense<[true, false, true]> : tensor<3xi1>");
  expectRoundTrip("dense<[3, -4]> : tensor<2xindex>");
  expectRoundTrip("dense<7.0> : tensor<4x5xf32>");
  expectRoundTrip("dense<true> : tensor<4xi1>");
  expectRoundTrip("dense<-7> : tensor<i64>");
  expectRoundTrip("dense<> : tensor<0x3xf32>");
}

TEST_F(TensorTest, EqualElementsBecomeASplat) {
  EXPECT_TRUE(f32({2}, {3, 3}).toAttribute().isSplat());
  EXPECT_FALSE(f32({2}, {0.0, -0.0}).toAttribute().isSplat());
}

TEST_F(TensorTest, BytesAreRead) {
  Builder b(&context);
  auto read = [&](Type type, ArrayRef<char> raw) {
    int64_t width = type.getIntOrFloatBitWidth() == 1 ? 1 : type.getIntOrFloatBitWidth() / 8;
    auto tensor = Tensor::fromBytes(RankedTensorType::get(raw.size() / width, type), raw);
    EXPECT_TRUE(succeeded(tensor));
    auto again = tensor->toBytes();
    EXPECT_EQ(ArrayRef<char>(again), raw);
    return *tensor;
  };
  EXPECT_EQ(read(b.getF32Type(), bytes<float>({1.5f, -2.f})).floats()[1], -2.0);
  EXPECT_EQ(read(b.getF64Type(), bytes<double>({0.1})).floats()[0], 0.1);
  // 1.5 is 0x3e00 in f16 and 0x3fc0 in bf16.
  EXPECT_EQ(read(b.getF16Type(), bytes<uint16_t>({0x3e00})).floats()[0], 1.5);
  EXPECT_EQ(read(b.getBF16Type(), bytes<uint16_t>({0x3fc0})).floats()[0], 1.5);
  EXPECT_EQ(read(b.getI64Type(), bytes<int64_t>({-100})).ints()[0], -100);
  EXPECT_EQ(read(b.getI32Type(), bytes<int32_t>({-7})).ints()[0], -7);
  EXPECT_EQ(read(b.getI1Type(), bytes<uint8_t>({1, 0})).ints()[0], 1);
}

TEST_F(TensorTest, BytesOfAnotherLengthAreRefused) {
  auto type = RankedTensorType::get(2, FloatType::getF32(&context));
  EXPECT_TRUE(failed(Tensor::fromBytes(type, bytes<float>({1.f}))));
}

TEST_F(TensorTest, RoundingIsTheElementTypes) {
  auto rounded = [&](Type type, double value) {
    return Tensor::splat(RankedTensorType::get({}, type), value).floats()[0];
  };
  Builder b(&context);
  EXPECT_EQ(rounded(b.getF64Type(), 0.1), 0.1);
  EXPECT_EQ(rounded(b.getF32Type(), 0.1), static_cast<double>(0.1f));
  // bf16 keeps 8 bits: halfway between 256 and 258 goes to the even 256.
  EXPECT_EQ(rounded(b.getBF16Type(), 257), 256);
  EXPECT_EQ(rounded(b.getF16Type(), 2049), 2048);
}

TEST_F(TensorTest, WritingACopyLeavesTheOriginal) {
  Tensor a = f32({2}, {1, 2}), b = a;
  b.edit<double>()[0] = 9;
  EXPECT_EQ(a.floats()[0], 1);
  EXPECT_EQ(b.floats()[0], 9);
}

} // namespace
