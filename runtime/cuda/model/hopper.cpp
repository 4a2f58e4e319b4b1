//===- hopper.cpp - Copy engine and tensor cores in the model -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/hopper.cuh"

#include "moire/rt/bf16.h"

#include <deque>
#include <vector>

namespace moire::rt::hopper {

using model::current;
using model::fail;

namespace {
struct Product {
  int n;
  bool transA, transB;
  float *d;
  bool inRegisters;
  uint32_t registers[4][4]; ///< of the lanes of the quad
  uint64_t a, b;
};
/// What one thread has started and not waited for: batches of products.
struct Pending {
  std::deque<std::vector<Product>> batches;
  std::vector<Product> open;
};
thread_local Pending pending[model::kMaxThreads];

/// Where shared memory begins: not at a multiple of what tiles need, as on the
/// device nothing promises.
constexpr uint32_t kBase = 128;
const model::Array &memory() { return *model::dynamicArray("memory"); }

const char *bytesAt(uint32_t address) {
  const model::Array &all = memory();
  const char *p = all.begin + (address - kBase);
  if (address < kBase || p + 2 > all.end)
    fail("a product reads shared memory at " + std::to_string(address) + ", outside");
  return p;
}
uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

/// Element (i, k) of an operand, i along the result.
float element(uint64_t description, bool rowsOverK, int i, int k) {
  const uint32_t start = (description & 0x3fff) << 4;
  const uint32_t blocks = (description >> 16 & 0x3fff) << 4;
  const uint32_t groups = (description >> 32 & 0x3fff) << 4;
  const uint32_t at = rowsOverK ? i / 64 * blocks + i % 64 * 2 + k / 8 * groups + k % 8 * 128
                                : i / 8 * groups + i % 8 * 128 + k * 2;
  bf16 x;
  std::memcpy(&x, bytesAt(swizzled(start + at)), 2);
  return x;
}

/// The lanes of a quad hold the 16 columns of their two rows.
float fromRegisters(const Product &p, int half, int k) {
  const uint32_t pair = p.registers[k % 8 / 2][k / 8 * 2 + half];
  bf16 x;
  x.bits = static_cast<uint16_t>(k % 2 ? pair >> 16 : pair);
  return x;
}

void execute(const Product &p) {
  const int lane = current->lane, warp = current->linear / 32 % 4;
  float a[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k)
      a[half][k] = p.inRegisters ? fromRegisters(p, half, k)
                                 : element(p.a, p.transA, warp * 16 + half * 8 + lane / 4, k);
  for (int i = 0; i < p.n / 8; ++i)
    for (int c = 0; c < 2; ++c)
      for (int k = 0; k < 16; ++k) {
        const float b = element(p.b, p.transB, 8 * i + lane % 4 * 2 + c, k);
        for (int half = 0; half < 2; ++half)
          p.d[4 * i + 2 * half + c] += a[half][k] * b;
      }
}

void endPhase(Barrier *b) {
  if (b->pending || b->lines)
    return;
  b->pending = b->expected;
  ++b->phase;
}

/// A barrier of some threads. One is in use at a time.
struct Named {
  int arrived = 0;
  uint32_t phase = 0;
};
thread_local Named named;
} // namespace

uint32_t sharedAddress(const void *p) {
  return static_cast<uint32_t>(static_cast<const char *>(p) - memory().begin) + kBase;
}
char *alignedShared(SharedPtr<char> p, uint32_t alignment) {
  const uint32_t address = sharedAddress(p.p);
  return p.p + ((address + alignment - 1) / alignment * alignment - address);
}

void initBarrier(Barrier *b, uint32_t count) {
  *b = {0, static_cast<uint8_t>(count), static_cast<uint8_t>(count), 0};
  if (reinterpret_cast<char *>(b + 1) > memory().end)
    fail("a barrier lies outside of shared memory");
}
void arrive(Barrier *b) {
  if (!b->pending)
    fail("thread " + std::to_string(current->linear) + " arrives once too often");
  --b->pending;
  endPhase(b);
}
void arriveExpecting(Barrier *b, uint32_t bytes) {
  b->lines = static_cast<uint16_t>(b->lines + bytes / 16);
  arrive(b);
}
void wait(Barrier *b, uint32_t parity) {
  while ((b->phase & 1) == parity)
    model::waitFor(&b->phase, b->phase, __FILE__, __LINE__);
}

void copyTile(const TensorMap *map, void *to, Barrier *b, int32_t x, int32_t y, int32_t z,
              int32_t w) {
  const int64_t wide = map->box[0], high = map->box[1];
  const uint32_t start = sharedAddress(to);
  if (start % 1024 || wide * 2 != 128)
    fail("a tile of rows of " + std::to_string(wide * 2) + " bytes at " + std::to_string(start) +
         "; use 128 bytes and multiples of 1024");
  if (static_cast<char *>(to) + high * 128 > memory().end)
    fail("a tile reaches beyond shared memory");
  if (b->lines < high * 128 / 16)
    fail("more bytes are copied than were announced");
  const auto inside = [&](int dim, int64_t at) { return at >= 0 && at < map->dims[dim]; };
  for (int64_t i = 0; i < high; ++i)
    for (int64_t j = 0; j < wide; ++j) {
      uint16_t v = 0;
      if (inside(0, x + j) && inside(1, y + i) && inside(2, z) && inside(3, w))
        v = map->data[w * map->pitch[3] + z * map->pitch[2] + (y + i) * map->pitch[1] + x + j];
      const auto at = static_cast<uint32_t>(i * 128 + j * 2);
      std::memcpy(static_cast<char *>(to) + swizzled(at), &v, 2);
    }
  b->lines = static_cast<uint16_t>(b->lines - high * 128 / 16);
  endPhase(b);
}

char *swizzledChunk(char *tile, int32_t row, int32_t chunk) {
  return tile + row * 128 + ((chunk ^ (row & 7)) << 4);
}
void copyChunk(char *to, const void *from, bool valid) {
  if (sharedAddress(to) % 16 || (valid && reinterpret_cast<uintptr_t>(from) % 16))
    fail("16 bytes are copied between addresses that are not multiples of 16");
  if (to < memory().begin || to + 16 > memory().end)
    fail("16 bytes are copied beyond shared memory");
  if (valid)
    std::memcpy(to, from, 16);
  else
    std::memset(to, 0, 16);
}

void syncSome(int threads) {
  if (++named.arrived == threads) {
    named.arrived = 0;
    ++named.phase;
    return;
  }
  model::waitFor(&named.phase, named.phase, __FILE__, __LINE__);
}

uint64_t describe(const void *tile, uint32_t blockBytes) {
  return uint64_t(1) << 62 | uint64_t(1024 >> 4) << 32 | uint64_t(blockBytes >> 4) << 16 |
         (sharedAddress(tile) & 0x3ffff) >> 4;
}
void noteProduct(int n, bool transA, bool transB, float *d, const uint32_t *registers, uint64_t a,
                 uint64_t b) {
  Product p = {n, transA, transB, d, registers != nullptr, {}, a, b};
  for (int lane = 0; registers && lane < 4; ++lane)
    for (int i = 0; i < 4; ++i)
      p.registers[lane][i] = __shfl_sync(~0u, registers[i], (current->lane & ~3) + lane);
  pending[current->linear].open.push_back(p);
}
void commitProducts() {
  Pending &p = pending[current->linear];
  p.batches.push_back(std::move(p.open));
  p.open.clear();
}
void waitProducts(int keep) {
  Pending &p = pending[current->linear];
  while (int(p.batches.size()) > keep) {
    for (const Product &product : p.batches.front())
      execute(product);
    p.batches.pop_front();
  }
}

TensorMap tensorMap(Context &, const bf16 *data, std::initializer_list<int64_t> dims,
                    std::initializer_list<int64_t> box, std::initializer_list<int64_t> pitches) {
  TensorMap map = {reinterpret_cast<const uint16_t *>(data), {1, 1, 1, 1}, {1, 1, 1, 1}, {1}};
  std::copy(dims.begin(), dims.end(), map.dims);
  std::copy(box.begin(), box.end(), map.box);
  for (int i = 1; i < 4; ++i)
    map.pitch[i] = map.pitch[i - 1] * map.dims[i - 1];
  std::copy(pitches.begin(), pitches.end(), map.pitch + 1);
  return map;
}
/// Few, so that each block walks over several tiles.
int multiprocessorsOf(Context &) { return 3; }
bool hasTensorCores(Context &) { return true; }

} // namespace moire::rt::hopper
