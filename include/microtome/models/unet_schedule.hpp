// When the convolutions of a unet run, on which rows, and which of their results exist in memory at that
// time: the same for floats and integers.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "../core/tensor.hpp"
#include "../layers/strip.hpp"

namespace microtome {

/// Rows of a band of the depth-first level 0: a multiple of both Winograd tile sizes and of 2. Few enough
/// that what one layer writes is still in cache when the next one reads it, enough that the two or three rows
/// by which each layer runs ahead stay a small part.
inline constexpr std::int64_t kBandRows = 24;

/// Steps are convolutions, counted as unet_layers() lists them. A residual sum is written over the tensor it
/// adds to.
///
/// At full resolution the network runs depth-first, in bands of rows: of ins only x1 and of de_0 nothing
/// exists as a whole, which halves the memory. The convolutions of a band count as the one step that it is.
struct UnetSchedule {
  bool bands = true;  ///< off: no bands

  /// Whether ins.conv0's result has memory of its own. It need not, even without a residual, when elements of
  /// both have the same size: ins.conv2 is done with the rows that it overwrites.
  bool first_apart = false;

  static constexpr int kDecoder = 15;           ///< us_3.conv0: 3 of ins, 4 x (ds, en, en) come before it
  static constexpr int kUp = kDecoder + 4 * 3;  ///< us_0.conv0
  static constexpr int kSteps = kUp + 5;        ///< with de_0 and out
  static constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();

  std::int64_t band_rows(std::int64_t height) const { return bands ? std::min(height, kBandRows) : height; }

  /// Rows of output that a step computes per call, at most.
  std::int64_t rows_per_call(int step) const {
    if (!bands) return kAll;
    if (step == 3) return kBandRows / 2;
    return step < 3 || step > kUp ? kBandRows : kAll;
  }

  /// Calls add(writer, last_writer, rows, first, last) for every tensor, in the order in which run() takes
  /// them: it holds `rows` rows (kAll: all) of the result of step `writer`, later of `last_writer`, and lives
  /// from step `first` to `last`. `height`: of the image.
  template <class Add>
  void place(std::int64_t height, Add&& add) const {
    constexpr int last = kSteps - 1;
    const std::int64_t band = band_rows(height);
    add(first_apart ? 2 : 0, 2, kAll, 0, bands ? last : kUp + 1);  // x1
    if (first_apart) add(0, 0, band + 2, 0, bands ? 3 : 1);
    add(1, 1, band + 2, bands ? 0 : 1, bands ? 3 : 2);
    for (int k = 0; k < 4; ++k) {
      const int ds = 3 + 3 * k;
      // x5 is read by us_3; x_{k+2} by de_{k+1}.conv0
      add(ds, ds + 2, kAll, bands && k == 0 ? 0 : ds, k == 3 ? kDecoder : kDecoder + 4 * (2 - k) + 1);
      add(ds + 1, ds + 1, kAll, ds + 1, ds + 2);
    }
    for (int us = kDecoder; us < kUp; us += 4) {
      add(us, us, kAll, us, us + 1);
      add(us + 1, us + 3, kAll, us + 1, us + 4);  // read by the next us
      add(us + 2, us + 2, kAll, us + 2, us + 3);
    }
    add(kUp, kUp, kAll, kUp, bands ? last : kUp + 1);
    add(kUp + 1, kUp + 3, band + 4, kUp + 1, last);
    add(kUp + 2, kUp + 2, band + 2, bands ? kUp + 1 : kUp + 2, bands ? last : kUp + 3);
  }

  /// Runs the network. take() gives the tensors, in place()'s order; `net` has
  ///   first(to, rows)                 step 0, which reads the image
  ///   layer(step, in, skip, to, rows) another step; `skip` is the second source of a concat, or null
  ///   head(in, rows)                  the last step
  ///   roll(tensor, step, row)         moves the window that holds results of `step` on to `row`
  template <class T, class Take, class Net>
  void run(std::int64_t height, Take&& take, Net&& net) const {
    const std::int64_t band = band_rows(height);
    const auto whole = [&](int step, const T& in, const T* skip, const T& to) {
      net.layer(step, in, skip, to, {0, to.size[0], to.size[0]});
    };
    // A row of a 3x3 convolution needs one row more above and below: of a chain, each layer runs one row
    // ahead of the next. done = rows finished of the chain's first layer, its second ...
    const auto ahead = [&](std::int64_t end, std::int64_t n) { return std::min(height, end + n); };

    T skips[4];
    T x = take(), t = first_apart ? take() : x, u = take(), down = take();
    for (std::int64_t y = 0, done[2] = {0, 0}; y < height; y += band) {
      const std::int64_t end = ahead(y, band), ends[2] = {ahead(end, 2), ahead(end, 1)};
      if (first_apart) net.roll(t, 0, y);
      net.roll(u, 1, std::max<std::int64_t>(0, y - 1));
      net.first(t, {done[0], ends[0], band});
      net.layer(1, t, nullptr, u, {done[1], ends[1], band});
      net.layer(2, u, nullptr, x, {y, end, band});
      net.layer(3, x, nullptr, down, {y / 2, end / 2, band / 2});
      done[0] = ends[0], done[1] = ends[1];
    }
    int step = 3;
    for (T& skip : skips) {
      skip = x;
      const T d = step == 3 ? down : take(), inner = take();
      if (step != 3) whole(step, x, nullptr, d);
      whole(step + 1, d, nullptr, inner);
      whole(step + 2, inner, nullptr, d);
      step += 3;
      x = d;
    }
    for (int k = 3; k >= 1; --k, step += 4) {
      const T up = take(), d = take(), inner = take();
      whole(step, x, nullptr, up);
      whole(step + 1, up, &skips[k], d);
      whole(step + 2, d, nullptr, inner);
      whole(step + 3, inner, nullptr, d);
      x = d;
    }
    const T up = take();
    T d = take(), inner = take();
    whole(step, x, nullptr, up);
    for (std::int64_t y = 0, done[3] = {0, 0, 0}; y < height; y += band) {
      const std::int64_t end = ahead(y, band), ends[3] = {ahead(end, 3), ahead(end, 2), ahead(end, 1)};
      net.roll(d, step + 1, std::max<std::int64_t>(0, y - 1));
      net.roll(inner, step + 2, y);
      net.layer(step + 1, up, &skips[0], d, {done[0], ends[0], band});
      net.layer(step + 2, d, nullptr, inner, {done[1], ends[1], band});
      net.layer(step + 3, inner, nullptr, d, {done[2], ends[2], band});
      net.head(d, {y, end, band});
      for (int i = 0; i < 3; ++i) done[i] = ends[i];
    }
  }
};

}  // namespace microtome
