//===- shared.h - Shared memory that reports races ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// MOIRE_SHARED and its like (moire/rt/cuda/launch.h) give SharedPtr<T> here and
// T * on the device. An element is a SharedRef, which notes each access with
// the thread and its barriers. Two accesses of one byte by different threads,
// one of them a write, are in order when __syncthreads lies between, or, inside
// a warp, __syncwarp; atomics are in order among themselves. Shuffles order
// nothing.
//
// `auto x = tile[i]` would keep the reference: name the type.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_SHARED_H
#define MOIRE_RT_CUDA_MODEL_SHARED_H

namespace moire::rt {

namespace model {

/// An array in shared memory.
struct Array {
  const void *key; ///< the declaration
  const char *name;
  char *begin, *end;
};
/// The block's array of that declaration, made by the first thread that comes.
const Array *sharedArray(const void *key, const char *name, int64_t bytes);
const Array *dynamicArray(const char *name);

void noteRead(const Array *a, const void *p, size_t bytes);
void noteWrite(const Array *a, const void *p, size_t bytes);
void noteAtomic(const Array *a, const void *p, size_t bytes);

} // namespace model

template <typename T> class SharedRef;

/// A pointer into one shared array.
template <typename T> class SharedPtr {
public:
  using Plain = std::remove_const_t<T>;
  SharedPtr() = default;
  SharedPtr(const model::Array *a, Plain *p) : array(a), p(p) {}
  SharedRef<T> operator[](int64_t i) const { return {array, p + i}; }
  SharedRef<T> operator*() const { return {array, p}; }
  SharedPtr operator+(int64_t n) const { return {array, p + n}; }
  SharedPtr operator-(int64_t n) const { return {array, p - n}; }
  int64_t operator-(SharedPtr b) const { return p - b.p; }
  SharedPtr &operator+=(int64_t n) {
    p += n;
    return *this;
  }
  operator SharedPtr<const T>() const { return {array, p}; }
  const model::Array *array = nullptr;
  Plain *p = nullptr;
};

/// One element; reading and writing it are noted.
template <typename T> class SharedRef {
public:
  using Plain = std::remove_const_t<T>;
  SharedRef(const model::Array *a, Plain *p) : array(a), p(p) {}
  operator Plain() const {
    model::noteRead(array, p, sizeof(T));
    return *p;
  }
  const SharedRef &operator=(Plain v) const {
    static_assert(!std::is_const_v<T>);
    model::noteWrite(array, p, sizeof(T));
    *p = v;
    return *this;
  }
  const SharedRef &operator=(const SharedRef &other) const {
    return *this = static_cast<Plain>(other);
  }
  const SharedRef &operator+=(Plain v) const { return *this = Plain(*this) + v; }
  const SharedRef &operator-=(Plain v) const { return *this = Plain(*this) - v; }
  const SharedRef &operator*=(Plain v) const { return *this = Plain(*this) * v; }
  SharedPtr<T> operator&() const { return {array, p}; }

  /// For the atomics below.
  Plain &atomic() const {
    model::noteAtomic(array, p, sizeof(T));
    return *p;
  }
  const model::Array *array;
  Plain *p;
};

/// The same bytes as elements of U: vector accesses, and dynamic shared memory
/// that holds several arrays.
template <typename U, typename T> SharedPtr<U> sharedCast(SharedPtr<T> s) {
  return {s.array, reinterpret_cast<std::remove_const_t<U> *>(s.p)};
}

namespace model {
/// A shared matrix: array[row][column], each row's columns checked.
template <typename T, int64_t Cols> class SharedMatrix {
public:
  SharedMatrix(const Array *a) : array(a) {}
  class Row {
  public:
    Row(const Array *a, T *p) : array(a), p(p) {}
    SharedRef<T> operator[](int64_t i) const {
      if (i < 0 || i >= Cols)
        fail("column " + std::to_string(i) + " of '" + array->name +
             "' is outside 0.." + std::to_string(Cols - 1));
      return {array, p + i};
    }
    operator SharedPtr<T>() const { return {array, p}; }

  private:
    const Array *array;
    T *p;
  };
  Row operator[](int64_t row) const {
    return {array, reinterpret_cast<T *>(array->begin) + row * Cols};
  }

private:
  const Array *array;
};
} // namespace model

// Those of global memory would be hidden by these.
using ::atomicAdd;
using ::atomicExch;
using ::atomicMax;
using ::atomicMin;
using ::atomicOr;
template <typename T, typename V> T atomicAdd(SharedPtr<T> s, V v) {
  return ::atomicAdd(&(*s).atomic(), T(v));
}
template <typename T, typename V> T atomicMax(SharedPtr<T> s, V v) {
  return ::atomicMax(&(*s).atomic(), T(v));
}
template <typename T, typename V> T atomicMin(SharedPtr<T> s, V v) {
  return ::atomicMin(&(*s).atomic(), T(v));
}
template <typename T, typename V> T atomicOr(SharedPtr<T> s, V v) {
  return ::atomicOr(&(*s).atomic(), T(v));
}
template <typename T, typename V> T atomicExch(SharedPtr<T> s, V v) {
  return ::atomicExch(&(*s).atomic(), T(v));
}

} // namespace moire::rt

#define MOIRE_SHARED(T, name, n)                                               \
  static const char name##Key = 0;                                             \
  const ::moire::rt::SharedPtr<T> name = [] {                                  \
    auto *array = ::moire::rt::model::sharedArray(&name##Key, #name,           \
                                                  int64_t(sizeof(T)) * (n));   \
    return ::moire::rt::SharedPtr<T>(array, reinterpret_cast<T *>(array->begin)); \
  }()
#define MOIRE_SHARED_MATRIX(T, name, rows, cols)                               \
  static const char name##Key = 0;                                             \
  const ::moire::rt::model::SharedMatrix<T, (cols)> name(                      \
      ::moire::rt::model::sharedArray(&name##Key, #name,                       \
                                      int64_t(sizeof(T)) * (rows) * (cols)))
#define MOIRE_SHARED_DYNAMIC(T, name)                                          \
  const ::moire::rt::SharedPtr<T> name = [] {                                  \
    auto *array = ::moire::rt::model::dynamicArray(#name);                     \
    return ::moire::rt::SharedPtr<T>(array, reinterpret_cast<T *>(array->begin)); \
  }()

#endif // MOIRE_RT_CUDA_MODEL_SHARED_H
