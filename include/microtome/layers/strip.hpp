// The padded input of a block of output pixels, copied row by row into scratch memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "../core/parallel.hpp"
#include "layer_times.hpp"
#include "source.hpp"

namespace microtome {

class Observer;

/// What a layer needs while it runs: kernels, threads, and scratch memory.
struct RunContext {
  const KernelTable* kernels = nullptr;
  Executor* executor = nullptr;
  std::vector<AlignedBuffer>* scratch =
      nullptr;                      ///< [executor->workers()], each at least the layers' scratch_bytes
  AlignedBuffer* shared = nullptr;  ///< one for all workers, at least the layers' shared_bytes
  LayerTimes* times = nullptr;      ///< where networks note how long each layer took; null: nowhere
  Observer* observer = nullptr;     ///< is shown the numbers inside networks (observer.hpp); null: nobody
};

/// A range of rows along axis 0: layers can be run in bands, so that what lies between them need not exist as
/// a whole.
struct Rows {
  std::int64_t begin, end;
  std::int64_t band;  ///< rows of a usual call; tiles and scratch memory are planned for it, any number works
};

template <class T, int Rank>
using Sources = std::vector<const RowSource<T, Rank>*>;

/// Copies channel block `block` of `source`, pixels [first, last), to `out`: rows of `row_pixels` pixels, the
/// outer axes `rows` long. What lies outside the source becomes source.padding(): padding is zero behind
/// whatever the source does to its pixels. So do rows from `end` on along axis 0: below a band the
/// source has not been computed yet.
template <class T, int Rank>
void fill_strip(const KernelTable& k, const RowSource<T, Rank>& source, int block, const Index<Rank>& first,
                const Index<Rank>& last, const Index<Rank>& rows, std::int64_t row_pixels, std::int64_t end,
                T* out) {
  Index<Rank> limit = source.size();
  limit[0] = std::min(limit[0], end);
  const std::int64_t n = last[Rank - 1] - first[Rank - 1];
  const std::int64_t left = std::clamp<std::int64_t>(-first[Rank - 1], 0, n);
  const std::int64_t right = std::clamp<std::int64_t>(limit[Rank - 1] - first[Rank - 1], left, n);
  const T padding = source.padding();
  for_each_row<Rank>(first, last, [&](const Index<Rank>& at) {
    std::int64_t row = 0;
    bool inside = right > left;
    for (int d = 0; d < Rank - 1; ++d) {
      row = row * rows[d] + at[d] - first[d];
      inside = inside && at[d] >= 0 && at[d] < limit[d];
    }
    T* to = out + row * row_pixels * kChannelBlock;
    const auto pad = [&](std::int64_t from, std::int64_t to_pixel) {
      std::fill(to + from * kChannelBlock, to + to_pixel * kChannelBlock, padding);
    };
    if (!inside) return pad(0, n);
    Index<Rank> from = at;
    from[Rank - 1] += left;
    pad(0, left);
    source.row(k, block, from, static_cast<int>(right - left), to + left * kChannelBlock);
    pad(right, n);
  });
}

}  // namespace microtome
