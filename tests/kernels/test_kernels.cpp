// Every kernel of every instruction set this CPU runs, against its scalar reference in double, on odd shapes,
// with every array ending at a guard page. kernels.inc drives it: a kernel without a check_<operator> does
// not compile.
#include <doctest.h>
#include <microtome/core/kernel_table.hpp>
#include <microtome/kernels/conv_row_f32/scalar.hpp>
#include <microtome/kernels/head_row_f32/scalar.hpp>
#include <microtome/kernels/image_row_u8/scalar.hpp>
#include <microtome/kernels/load_row_f32/scalar.hpp>
#include <microtome/kernels/probabilities_f32/scalar.hpp>
#include <microtome/kernels/upsample_row_f32/scalar.hpp>
#include <microtome/kernels/winograd_input_f32/scalar.hpp>
#include <microtome/kernels/winograd_output_f32/scalar.hpp>
#include <microtome/kernels/winograd_weights_f32/scalar.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "guarded.hpp"

namespace {

using namespace microtome;
using microtome_test::fill_random;
using microtome_test::Guarded;

// The largest difference, relative to the largest reference value (at least 1).
template <class A, class B>
double difference(A& got, B& want) {
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (!(got[i] == got[i])) return INFINITY;
    worst = std::max(worst, static_cast<double>(std::fabs(got[i] - want[i])));
    scale = std::max(scale, static_cast<double>(std::fabs(want[i])));
  }
  return worst / scale;
}

struct ConvCase {
  std::vector<int> channels;  // per source
  int out, width, kernel, taps, stride;
  bool residual, in_place;
  float slope;
};

void check_conv(const KernelTable& table, const ConvCase& c, std::uint32_t seed) {
  std::vector<int> blocks;
  int inputs = 0;
  for (int n : c.channels)
    for (inputs += n; n > 0; n -= 16) blocks.push_back(std::min(n, 16));
  const int row_pixels = (c.width - 1) * c.stride + c.kernel;
  const std::size_t row = static_cast<std::size_t>(row_pixels) * 16;
  Guarded<float> in(row * static_cast<std::size_t>(c.taps) * blocks.size(), seed % 2 != 0);
  Guarded<float> weights(static_cast<std::size_t>(inputs * c.taps * c.kernel) * 16), bias(16);
  Guarded<float> residual(static_cast<std::size_t>(c.width) * 16), got(residual.size()),
      want(residual.size());
  fill_random(in, seed);
  fill_random(weights, seed + 1, 0.3f);
  fill_random(bias, seed + 2);
  fill_random(residual, seed + 3);
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (static_cast<int>(i % 16) >= c.out) weights[i] = 0;
  for (int o = c.out; o < 16; ++o) bias[static_cast<std::size_t>(o)] = 0;
  // Lanes beyond a block's channels are never read: poison them.
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for (std::size_t p = 0; p < row / 16 * static_cast<std::size_t>(c.taps); ++p)
      for (int l = blocks[b]; l < 16; ++l)
        in[b * row * static_cast<std::size_t>(c.taps) + p * 16 + static_cast<std::size_t>(l)] = NAN;
  if (c.residual)
    for (std::size_t i = 0; i < residual.size(); ++i)
      if (static_cast<int>(i % 16) >= c.out) residual[i] = 0;
  std::vector<std::ptrdiff_t> taps;
  for (int t = 0; t < c.taps; ++t) taps.push_back(static_cast<std::ptrdiff_t>(row) * t);
  ConvRowArgs a{};
  a.in = in.data();
  a.block_stride = static_cast<std::ptrdiff_t>(row) * c.taps;
  a.block_channels = blocks.data();
  a.blocks = static_cast<int>(blocks.size());
  a.tap_rows = taps.data();
  a.taps = c.taps;
  a.kernel_width = c.kernel;
  a.stride = c.stride;
  a.weights = weights.data();
  a.bias = bias.data();
  a.residual = c.residual ? residual.data() : nullptr;
  a.slope = c.slope;
  a.out_channels = c.out;
  a.width = c.width;
  a.out = want.data();
  scalar::conv_row_f32<double>(a);
  a.out = got.data();
  if (c.in_place) {
    std::copy(residual.data(), residual.data() + residual.size(), got.data());
    a.residual = got.data();
  }
  table.conv_row_f32(a);
  // Rounding grows with the number of terms; 4e-7 per sqrt(term) leaves a factor of about 4.
  const double bound = 4e-7 * std::sqrt(static_cast<double>(inputs * c.taps * c.kernel) + 4);
  INFO(table.isa, ": ", inputs, " -> ", c.out, " channels, width ", c.width, ", kernel ", c.kernel, ", taps ",
       c.taps, ", stride ", c.stride);
  CHECK(difference(got, want) <= bound);
}

void check_conv_row_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int width = 1; width <= 40; ++width)
    for (const int stride : {1, 2})
      check_conv(table, {{5}, 16, width, 3, 3, stride, false, false, 0.01f}, seed++);
  for (int n = 1; n <= 33; ++n) check_conv(table, {{n}, 16, 13, 3, 3, 1, true, false, 1.0f}, seed++);
  for (int out = 1; out <= 16; ++out)
    for (const int width : {1, 7, 8, 9, 23, 27, 29})
      for (const int stride : {1, 2})
        check_conv(table, {{19}, out, width, 3, 3, stride, true, false, 0.01f}, seed++);
  for (const int width : {1, 5, 12, 31}) {
    check_conv(table, {{16, 32}, 16, width, 1, 1, 1, false, false, 1.0f}, seed++);  // 1x1
    check_conv(table, {{3, 7}, 9, width, 3, 9, 1, true, true, 0.01f}, seed++);  // 3D, two sources, in place
    check_conv(table, {{24, 24}, 16, width, 3, 3, 1, true, true, 1.0f}, seed++);
    check_conv(table, {{33}, 16, width, 3, 9, 2, false, false, 0.01f}, seed++);
  }
}

void check_head_row_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (int outputs = 1; outputs <= 5; ++outputs)
    for (int width = 1; width <= 20; ++width)
      for (const int blocks : {1, 2, 5})
        for (const int kernel : {1, 3}) {
          const int taps = kernel == 1 ? 1 : width % 2 == 0 ? 3 : 9;
          const std::size_t row = static_cast<std::size_t>(width + kernel - 1) * 16;
          Guarded<float> in(row * static_cast<std::size_t>(taps * blocks), seed % 2 != 0);
          Guarded<float> weights(static_cast<std::size_t>(outputs * blocks * taps * kernel) * 16);
          Guarded<float> bias(static_cast<std::size_t>(outputs));
          Guarded<float> got(static_cast<std::size_t>((width - 1) * 16 + outputs)), want(got.size());
          fill_random(in, seed++), fill_random(weights, seed++, 0.3f), fill_random(bias, seed++);
          fill_random(got, seed);  // lanes above `outputs` belong to somebody else
          std::copy(got.data(), got.data() + got.size(), want.data());
          std::vector<std::ptrdiff_t> tap_rows;
          for (int t = 0; t < taps; ++t) tap_rows.push_back(static_cast<std::ptrdiff_t>(row) * t);
          HeadRowArgs a{};
          a.in = in.data(), a.block_stride = static_cast<std::ptrdiff_t>(row) * taps, a.blocks = blocks;
          a.tap_rows = tap_rows.data(), a.taps = taps, a.kernel_width = kernel;
          a.weights = weights.data(), a.bias = bias.data(), a.outputs = outputs, a.width = width;
          a.out = want.data();
          scalar::head_row_f32<double>(a);
          a.out = got.data();
          table.head_row_f32(a);
          INFO(table.isa, ": ", blocks, " blocks -> ", outputs, ", width ", width, ", kernel ", kernel);
          CHECK(difference(got, want) <= 4e-7 * std::sqrt(16.0 * blocks * taps * kernel + 4));
        }
}

void check_load_row_f32(const KernelTable& table) {
  for (int width = 1; width <= 40; ++width)
    for (const float slope : {1.0f, 0.01f, 0.0f}) {
      const std::size_t n = static_cast<std::size_t>(width) * 16;
      Guarded<float> in(n, width % 2 != 0), scale(16), shift(16), got(n), want(n);
      fill_random(in, 7, 4.0f);
      fill_random(scale, 8, 2.0f);
      fill_random(shift, 9);
      LoadRowArgs a{in.data(), scale.data(), shift.data(), slope, want.data(), width};
      scalar::load_row_f32<double>(a);
      a.out = got.data();
      table.load_row_f32(a);
      INFO(table.isa, ": width ", width, ", slope ", slope);
      CHECK(difference(got, want) <= 5e-7);
    }
}

void check_upsample_row_f32(const KernelTable& table) {
  for (const int rows : {2, 4})
    for (int n = 1; n <= 21; ++n) {
      Guarded<float> source(static_cast<std::size_t>(rows * n) * 16, n % 2 != 0);
      const int width = 2 * n;
      Guarded<std::int32_t> lo(static_cast<std::size_t>(width)), hi(lo.size());
      Guarded<float> fraction(lo.size()), got(lo.size() * 16), want(got.size());
      fill_random(source, static_cast<std::uint32_t>(n));
      for (int i = 0; i < width; ++i) {
        const double s = n == 1 ? 0 : static_cast<double>(i) * (n - 1) / (2 * n - 1);
        const std::size_t at = static_cast<std::size_t>(i);
        lo[at] = static_cast<std::int32_t>(s);
        hi[at] = std::min(lo[at] + 1, n - 1);
        fraction[at] = static_cast<float>(s - lo[at]);
      }
      UpsampleRowArgs a{};
      const float weights[4] = {0.5f, 0.25f, 0.2f, 0.05f};
      for (int r = 0; r < rows; ++r) {
        a.rows[r] = source.data() + static_cast<std::ptrdiff_t>(r) * n * 16;
        a.row_weight[r] = weights[r];
      }
      a.row_count = rows;
      a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
      a.slope = 0.01f;
      a.width = width;
      a.out = want.data();
      scalar::upsample_row_f32<double>(a);
      a.out = got.data();
      table.upsample_row_f32(a);
      INFO(table.isa, ": ", rows, " rows of ", n);
      CHECK(difference(got, want) <= 5e-7);
    }
}

void check_image_row_u8(const KernelTable& table) {
  for (int channels = 1; channels <= 16; ++channels)
    for (const int width : {1, 2, 15, 16, 17, 40}) {
      const std::size_t pixels = static_cast<std::size_t>(width);
      Guarded<std::uint8_t> in(pixels * static_cast<std::size_t>(channels));
      Guarded<float> scale(static_cast<std::size_t>(channels)), shift(scale.size());
      Guarded<float> got(pixels * 16), want(pixels * 16);
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i * 37 + 11);
      fill_random(scale, 3), fill_random(shift, 4), fill_random(got, 5);
      std::copy(got.data(), got.data() + got.size(), want.data());  // unused lanes stay as they were
      ImageRowArgs a{in.data(), channels, scale.data(), shift.data(), want.data(), width};
      scalar::image_row_u8<double>(a);
      a.out = got.data();
      table.image_row_u8(a);
      INFO(table.isa, ": ", channels, " channels, width ", width);
      CHECK(difference(got, want) <= 5e-7);
    }
}

void check_probabilities_f32(const KernelTable& table) {
  for (const FinalLayer layer : {FinalLayer::none, FinalLayer::sigmoid, FinalLayer::softmax})
    for (const int classes : {1, 2, 3, 5, 16, 17, 33, 256})
      for (const int width : {1, 3, 63, 64, 65, 130}) {
        const std::size_t pixels = static_cast<std::size_t>(width);
        Guarded<float> logits(pixels * 16 * static_cast<std::size_t>((classes + 15) / 16));
        Guarded<float> got(pixels * static_cast<std::size_t>(classes)), want(got.size());
        fill_random(logits, static_cast<std::uint32_t>(classes * width), width == 65 ? 120.0f : 8.0f);
        ProbabilityArgs a{};
        a.logits = logits.data();
        a.block_stride = width * 16;
        a.classes = classes;
        a.final_layer = layer;
        a.multiplier = 1.5f;
        a.plane_stride = width;
        a.width = width;
        a.out = want.data();
        scalar::probabilities_f32<double>(a);
        a.out = got.data();
        table.probabilities_f32(a);
        INFO(table.isa, ": ", classes, " classes, width ", width, ", layer ", static_cast<int>(layer));
        CHECK(difference(got, want) <= 2e-6);
      }
}

void check_winograd_input_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    for (int tiles = 1; tiles <= 13; ++tiles)
      for (const int gap : {0, 3}) {
        const std::ptrdiff_t row = (tiles * tile + 2 + gap) * 16, position = (tiles + gap) * 16;
        const int n = tile + 2;
        // The last row and the last position end with their data: what lies between rows is not theirs.
        Guarded<float> in(static_cast<std::size_t>((n - 1) * row + (tiles * tile + 2) * 16), tiles % 2 != 0);
        Guarded<float> got(static_cast<std::size_t>((n * n - 1) * position + tiles * 16)), want(got.size());
        fill_random(in, static_cast<std::uint32_t>(tiles));
        WinogradInputArgs a{in.data(), row, tile, tiles, want.data(), position};
        scalar::winograd_input_f32<double>(a);
        a.out = got.data();
        table.winograd_input_f32(a);
        INFO(table.isa, ": ", tiles, " tiles of ", tile, ", gap ", gap);
        CHECK(difference(got, want) <= 1e-6);
      }
}

void check_winograd_weights_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    for (int channels = 1; channels <= 33; ++channels) {
      const std::ptrdiff_t position = (channels + channels % 3) * 16;
      const int positions = (tile + 2) * (tile + 2);
      Guarded<float> weights(static_cast<std::size_t>(9 * channels) * 16, channels % 2 != 0);
      Guarded<float> got(static_cast<std::size_t>((positions - 1) * position + channels * 16)),
          want(got.size());
      fill_random(weights, static_cast<std::uint32_t>(channels));
      WinogradWeightsArgs a{weights.data(), channels, tile, want.data(), position};
      scalar::winograd_weights_f32<double>(a);
      a.out = got.data();
      table.winograd_weights_f32(a);
      INFO(table.isa, ": ", channels, " channels, tile ", tile);
      CHECK(difference(got, want) <= 5e-7);
    }
}

void check_winograd_output_f32(const KernelTable& table) {
  std::uint32_t seed = 1;
  for (const int tile : {4, 6})
    for (int width = 1; width <= 27; ++width)
      for (int rows = 1; rows <= tile; ++rows)
        for (const bool in_place : {false, true}) {
          const int tiles = (width + tile - 1) / tile, positions = (tile + 2) * (tile + 2);
          const std::ptrdiff_t position = (tiles + width % 2) * 16, row = (width + 2) * 16;
          const std::size_t pixels = static_cast<std::size_t>((rows - 1) * row + width * 16);
          Guarded<float> in(static_cast<std::size_t>((positions - 1) * position + tiles * 16),
                            width % 2 != 0);
          Guarded<float> bias(16), residual(pixels), got(pixels), want(pixels);
          fill_random(in, seed++), fill_random(bias, seed++), fill_random(residual, seed++);
          // Pixels between rows belong to somebody else: they stay as they were.
          std::copy(residual.data(), residual.data() + pixels, got.data());
          std::copy(residual.data(), residual.data() + pixels, want.data());
          WinogradOutputArgs a{};
          a.in = in.data(), a.position_stride = position, a.tile = tile;
          a.bias = bias.data(), a.slope = width % 3 == 0 ? 1.0f : 0.01f;
          a.residual = in_place || rows % 2 == 0 ? residual.data() : nullptr, a.residual_stride = row;
          a.out = want.data(), a.out_stride = row, a.rows = rows, a.width = width;
          scalar::winograd_output_f32<double>(a);
          a.out = got.data();
          if (in_place) a.residual = got.data();
          table.winograd_output_f32(a);
          INFO(table.isa, ": ", width, " x ", rows, ", tile ", tile);
          CHECK(difference(got, want) <= 5e-7);
        }
}

}  // namespace

TEST_CASE("every kernel of every runnable instruction set matches its scalar reference") {
  REQUIRE(!runnable_tables().empty());
  for (const KernelTable* table : runnable_tables()) {
#define MICROTOME_KERNEL(op, Args) check_##op(*table);
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL
  }
}
