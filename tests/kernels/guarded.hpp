// Arrays that end exactly at an inaccessible page (and begin right behind one when `from_front` is set): a
// kernel that touches one element too many crashes instead of passing.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>

namespace microtome_test {

template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t n, bool from_front = false) : size_(n) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t body = (n * sizeof(T) + page - 1) / page * page;
    bytes_ = body + 2 * page;
    base_ = static_cast<unsigned char*>(
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(base_, page, PROT_NONE);
    mprotect(base_ + page + body, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(from_front ? base_ + page : base_ + page + body - n * sizeof(T));
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(base_, bytes_); }

  T* data() { return data_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  std::size_t size_, bytes_ = 0;
  unsigned char* base_ = nullptr;
  T* data_ = nullptr;
};

/// Values in [-1, 1), the same for the same seed.
template <class Array>
void fill_random(Array& a, std::uint32_t seed, float scale = 1.0f) {
  std::mt19937 rng(seed);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = scale * (static_cast<float>(rng() >> 8) / 8388608.0f - 1.0f);
}

}  // namespace microtome_test
