// The sources of integer networks through fill_strip, with padding on all sides, against core/requantize.hpp
// and plain loops.
#include <doctest.h>
#include <microtome/core/requantize.hpp>
#include <microtome/layers/source_i16.hpp>
#include <microtome/layers/strip.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

using namespace microtome;

namespace {

// A tensor with its memory, filled with integers in [low, high]; lanes beyond the channels are zero.
template <class T, int Rank>
struct Owned {
  Owned(int channels, const Index<Rank>& size, int low, int high)
      : memory(Tensor<T, Rank>::elements(channels, size)) {
    view = Tensor<T, Rank>::whole(memory.data(), channels, size);
    std::mt19937 rng(static_cast<std::uint32_t>(channels));
    for (int c = 0; c < channels; ++c)
      for_each_row<Rank>(Index<Rank>{}, size, [&](Index<Rank> at) {
        for (at[Rank - 1] = 0; at[Rank - 1] < size[Rank - 1]; ++at[Rank - 1])
          this->at(c, at) =
              static_cast<T>(low + static_cast<int>(rng() % static_cast<unsigned>(high - low + 1)));
      });
  }
  T& at(int c, const Index<Rank>& i) { return view.pixel(c / 16, i)[c % 16]; }
  std::vector<T> memory;
  Tensor<T, Rank> view;
};

using Expected = std::function<int(int channel, const std::vector<std::int64_t>& at)>;

// The number of wrong values in a strip that reaches `margin` pixels beyond the source on every side, in
// which rows from `end` on do not exist yet.
template <int Rank>
int wrong_values(const RowSource<std::int16_t, Rank>& source, int padding, std::int64_t end,
                 const Expected& expected) {
  const std::int64_t margin = 2;
  Index<Rank> first{}, last{}, rows{};
  for (int d = 0; d < Rank; ++d) {
    first[d] = -margin;
    last[d] = source.size()[d] + margin;
    rows[d] = last[d] - first[d];
  }
  const std::int64_t row_pixels = rows[Rank - 1] | 1;
  std::int64_t count = row_pixels * kChannelBlock;
  for (int d = 0; d < Rank - 1; ++d) count *= rows[d];
  int wrong = 0;
  for (int block = 0; block < channel_blocks(source.channels()); ++block) {
    std::vector<std::int16_t> strip(static_cast<std::size_t>(count), -999);
    fill_strip(kernels(), source, block, first, last, rows, row_pixels, end, strip.data());
    for_each_row<Rank>(first, last, [&](Index<Rank> at) {
      std::int64_t row = 0;
      for (int d = 0; d < Rank - 1; ++d) row = row * rows[d] + at[d] - first[d];
      for (at[Rank - 1] = first[Rank - 1]; at[Rank - 1] < last[Rank - 1]; ++at[Rank - 1]) {
        bool inside = at[0] < end;
        for (int d = 0; d < Rank; ++d) inside = inside && at[d] >= 0 && at[d] < source.size()[d];
        const int channels = std::min(source.channels() - block * 16, 16);
        for (int c = 0; c < (inside ? channels : 16); ++c) {
          const std::int64_t i = (row * row_pixels + at[Rank - 1] - first[Rank - 1]) * 16 + c;
          const int want = inside ? expected(block * 16 + c, {at.begin(), at.end()}) : padding;
          wrong += strip[static_cast<std::size_t>(i)] != want;
        }
      }
    });
  }
  return wrong;
}

template <int Rank>
Index<Rank> index(const std::vector<std::int64_t>& at) {
  Index<Rank> i{};
  std::copy(at.begin(), at.end(), i.begin());
  return i;
}

template <int Rank>
void check_act(const Index<Rank>& size) {
  Owned<std::uint8_t, Rank> t(19, size, 0, 255);
  const ActSource<Rank> source(t.view, 200);
  CHECK(wrong_values<Rank>(source, 200, 1000,
                           [&](int c, const auto& at) { return t.at(c, index<Rank>(at)); }) == 0);
}

template <int Rank>
void check_raw(const Index<Rank>& size) {
  Owned<std::int16_t, Rank> t(21, size, -32768, 32767);
  CHECK(wrong_values<Rank>(RawSource<Rank>(t.view, nullptr), 0, 1000,
                           [&](int c, const auto& at) { return t.at(c, index<Rank>(at)); }) == 0);
  std::vector<std::int16_t> factors;
  std::vector<std::int32_t> terms;
  for (int c = 0; c < 21; ++c) {
    factors.push_back(static_cast<std::int16_t>((c - 10) * 3000));
    terms.push_back((c % 5 - 2) * 100000000);
  }
  const RawPrologue prologue(factors, terms, {3e-7f, 3e-9f, 31});
  const auto expected = [&](int c, const std::vector<std::int64_t>& at) -> int {
    const std::size_t i = static_cast<std::size_t>(c);
    return to_act(t.at(c, index<Rank>(at)) * factors[i] + terms[i], 3e-7f, 3e-9f, 31);
  };
  CHECK(wrong_values<Rank>(RawSource<Rank>(t.view, &prologue), 31, 1000, expected) == 0);
  CHECK(wrong_values<Rank>(RawSource<Rank>(t.view, &prologue), 31, 2, expected) == 0);
}

// Interpolation in double, as PyTorch defines it, of one channel at one output pixel.
template <int Rank>
double resized(Owned<std::int16_t, Rank>& t, int c, const std::vector<std::int64_t>& at) {
  double sum = 0;
  for (int corner = 0; corner < 1 << Rank; ++corner) {
    double weight = 1;
    Index<Rank> from{};
    for (int d = 0; d < Rank; ++d) {
      const std::int64_t n = t.view.size[d];
      const double position =
          static_cast<double>(at[static_cast<std::size_t>(d)] * (n - 1)) / static_cast<double>(2 * n - 1);
      const std::int64_t lower = static_cast<std::int64_t>(position + 1e-12);
      const double fraction = position - static_cast<double>(lower);
      const bool upper = ((corner >> d) & 1) != 0;
      from[d] = std::min(lower + (upper ? 1 : 0), n - 1);
      weight *= upper ? fraction : 1 - fraction;
    }
    sum += weight * t.at(c, from);
  }
  return sum;
}

template <int Rank>
void check_resize(const Index<Rank>& size) {
  // The step divides by 2^14 and 2^7: raws up to +-2^14 become +-2^7 around the zero point.
  const float m = std::ldexp(1.0f, -21);
  Owned<std::int16_t, Rank> t(18, size, -16000, 16000);
  const UpsampledRawSource<Rank> source(t.view, {m, m, 128});
  // Weights are rounded to 1/256 along each axis; neighbours differ by 32000 at most, 250 units of the
  // result.
  const double tolerance = 0.5 + Rank * 250.0 / 256 + 1e-6;
  const auto expected = [&](int c, const std::vector<std::int64_t>& at) -> int {
    std::int16_t got[16];
    source.row(kernels(), c / 16, index<Rank>(at), 1, got);
    const double exact = 128 + resized<Rank>(t, c, at) / 128;
    return std::fabs(got[c % 16] - exact) <= tolerance ? got[c % 16] : -1;
  };
  CHECK(wrong_values<Rank>(source, 128, 1000, expected) == 0);

  Owned<std::int16_t, Rank> constant(5, size, 12345, 12345);
  const UpsampledRawSource<Rank> same(constant.view, {m, m, 9});
  CHECK(wrong_values<Rank>(same, 9, 1000, [](int, const auto&) { return 9 + 96; }) ==
        0);  // 12345 / 128 = 96.4
}

}  // namespace

TEST_CASE("8-bit activations are widened, and padded with their zero point") {
  check_act<2>({5, 7});
  check_act<3>({3, 2, 5});
}

TEST_CASE("raws pass as they are or through a prologue that padding does not see") {
  check_raw<2>({5, 7});
  check_raw<3>({3, 4, 5});
}

TEST_CASE("raws are enlarged as PyTorch does it, up to the rounding of weights and result") {
  for (const std::int64_t n : {1, 2, 3, 8}) check_resize<2>({n, 11 - n});
  for (const std::int64_t n : {1, 2, 5}) check_resize<3>({n, 3, 6 - n});
}

TEST_CASE("weights of a resize are the nearest multiples of 1/128") {
  for (const std::int64_t n : {1, 2, 3, 64, 1000}) {
    const ResizeAxisI16 axis(n);
    const ResizeAxis exact(n);
    for (std::size_t i = 0; i < axis.lo.size(); ++i) {
      CAPTURE(i);
      CHECK(axis.lo[i] == exact.lo[i]);
      CHECK(axis.hi[i] == exact.hi[i]);
      CHECK(axis.fraction[i] == std::lround(exact.fraction[i] * 128));
    }
  }
}

TEST_CASE("pixels go through the table of their channel") {
  const Index<2> size = {5, 7};
  const std::size_t stride = 7 * 3 + 2;
  std::vector<std::uint8_t> pixels(stride * 5), table(3 * 256);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(i * 11 + i / 256);
  const TableImageSource source(pixels.data(), stride, 3, size, table.data(), 77);
  CHECK(wrong_values<2>(source, 77, 1000, [&](int c, const std::vector<std::int64_t>& at) -> int {
          const std::size_t pixel =
              static_cast<std::size_t>(at[0]) * stride + static_cast<std::size_t>(at[1] * 3 + c);
          return table[static_cast<std::size_t>(c) * 256 + pixels[pixel]];
        }) == 0);
}
