// Shapes, the blocked activation layout, and the aligned memory behind it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "os.hpp"

namespace microtome {

/// Coordinates or sizes of `Rank` spatial axes, outermost first: {height, width} or {depth, height, width}.
template <int Rank>
using Index = std::array<std::int64_t, static_cast<std::size_t>(Rank)>;

template <int Rank>
std::int64_t volume(const Index<Rank>& size) {
  std::int64_t n = 1;
  for (const std::int64_t s : size) n *= s;
  return n;
}

/// Calls f(at) for every row of the box [begin, end): every combination of the outer coordinates, with
/// at[Rank - 1] = begin[Rank - 1].
template <int Rank, class F>
void for_each_row(const Index<Rank>& begin, const Index<Rank>& end, F&& f) {
  constexpr int outer = Rank - 1;
  for (int d = 0; d < outer; ++d)
    if (begin[d] >= end[d]) return;
  Index<Rank> at = begin;
  for (;;) {
    f(static_cast<const Index<Rank>&>(at));
    int d = outer - 1;
    for (; d >= 0; --d) {
      if (++at[d] < end[d]) break;
      at[d] = begin[d];
    }
    if (d < 0) return;
  }
}

inline constexpr int kChannelBlock = 16;  ///< channels innermost: 16 floats = one cache line = one zmm

inline constexpr int channel_blocks(int channels) {
  return (channels + kChannelBlock - 1) / kChannelBlock;
}

/// A view of activations in the blocked layout [ceil(C / 16)][outer axes...][width + pad][16].
/// Rows are an odd number of cache lines long, so that neighbouring rows never share L1 sets (4K aliasing at
/// power-of-two widths). There is no halo: convolutions read through padded strips (layers/strip.hpp).
/// Lanes above `channels` in the last block are zero.
///
/// A tensor may hold a window of its rows only, [origin, origin + held) along axis 0: see roll().
template <class T, int Rank>
struct Tensor {
  T* data = nullptr;
  int channels = 0;
  Index<Rank> size{};       ///< of the whole, whatever is held
  std::int64_t origin = 0;  ///< first row held
  std::int64_t held = 0;    ///< rows that the memory has room for; size[0] unless it is a window

  /// A view of a whole tensor; `data` has room for elements(channels, size).
  static Tensor whole(T* data, int channels, const Index<Rank>& size) {
    Tensor t;
    t.data = data;
    t.channels = channels;
    t.size = size;
    t.held = size[0];
    return t;
  }

  static std::int64_t row_pixels(std::int64_t width) { return width | 1; }

  /// Elements (of T) that a tensor of this shape occupies.
  static std::size_t elements(int channels, const Index<Rank>& size) {
    std::int64_t n = row_pixels(size[Rank - 1]);
    for (int d = 0; d < Rank - 1; ++d) n *= size[d];
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(channel_blocks(channels)) * kChannelBlock;
  }

  /// First element of pixel `at` in channel block `block`.
  T* pixel(int block, const Index<Rank>& at) const {
    std::int64_t i = block * held + at[0] - origin;
    for (int d = 1; d < Rank - 1; ++d) i = i * size[d] + at[d];
    i = i * row_pixels(size[Rank - 1]) + at[Rank - 1];
    return data + i * kChannelBlock;
  }

  /// Moves the window on to [row, row + held); rows held before and after stay.
  void roll(std::int64_t row) {
    if (row == origin) return;
    const std::int64_t kept = origin + held - row;
    std::size_t row_bytes = static_cast<std::size_t>(row_pixels(size[Rank - 1])) * kChannelBlock * sizeof(T);
    for (int d = 1; d < Rank - 1; ++d) row_bytes *= static_cast<std::size_t>(size[d]);
    if (kept > 0)
      for (int b = 0; b < channel_blocks(channels); ++b)
        std::memmove(static_cast<void*>(pixel(b, first_pixel(origin))), pixel(b, first_pixel(row)),
                     static_cast<std::size_t>(kept) * row_bytes);
    origin = row;
  }

 private:
  static Index<Rank> first_pixel(std::int64_t row) {
    Index<Rank> at{};
    at[0] = row;
    return at;
  }
};

enum class Pages { normal, huge };

/// Uninitialised memory aligned to a page. Move-only; parts of it may be owned together.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Huge pages are for what is read and written all the time at many places at once (the Winograd transforms
  /// walk 64 streams): 64 entries of the first-level TLB do not hold that many pages of 4 KiB. They cost more
  /// to fill for the first time, so what is written once and read in order (weights) does without.
  explicit AlignedBuffer(std::size_t bytes, Pages pages = Pages::normal) : size_(bytes) {
    if (bytes == 0) return;
    const std::size_t rounded = allocated(bytes, pages);
    if (rounded < bytes) throw std::bad_alloc();
    void* data = std::aligned_alloc(alignment(bytes, pages), rounded);
    if (!data) throw std::bad_alloc();
    data_ = {data, std::free};
    if (alignment(bytes, pages) == kHugePage) os::prefer_huge_pages(data, rounded);
  }
  AlignedBuffer(AlignedBuffer&& o) noexcept : data_(std::move(o.data_)), size_(std::exchange(o.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    return *this;
  }

  /// Bytes that a buffer of `bytes` takes: whole pages of its kind.
  static std::size_t allocated(std::size_t bytes, Pages pages = Pages::normal) {
    const std::size_t page = alignment(bytes, pages);
    return (bytes + page - 1) / page * page;
  }

  /// `bytes` of this memory from `offset` on. It is freed with the last of its parts.
  AlignedBuffer part(std::size_t offset, std::size_t bytes) const {
    AlignedBuffer b;
    b.data_ = {data_, as<unsigned char>(offset)};
    b.size_ = bytes;
    return b;
  }

  void* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  template <class T>
  T* as(std::size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(data_.get()) + byte_offset);
  }

  static constexpr std::size_t kAlignment = 4096, kHugePage = std::size_t{2} << 20;

 private:
  static std::size_t alignment(std::size_t bytes, Pages pages) {
    return pages == Pages::huge && bytes >= kHugePage / 4 ? kHugePage : kAlignment;
  }

  std::shared_ptr<void> data_;
  std::size_t size_ = 0;
};

}  // namespace microtome
