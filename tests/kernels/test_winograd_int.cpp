// The integer Winograd kernels one after the other against the sum that a convolution is: equal below the
// bound of core/winograd_bound.hpp, for every instruction set that this CPU runs, and refused by it above.
#include <doctest.h>
#include <microtome/core/winograd_bound.hpp>
#include <microtome/kernels/kernel_table.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace microtome;

namespace {

/// One tile: 6x6 pixels of `channels` inputs, 16 outputs of 4x4 pixels.
struct Tile {
  int channels;
  std::vector<std::int8_t> weights;  // [16][channels][3][3], as PyTorch orders them
  std::vector<int> input;            // [channels][6][6], 0..255

  explicit Tile(int n)
      : channels(n), weights(static_cast<std::size_t>(n) * 16 * 9), input(static_cast<std::size_t>(n) * 36) {}

  std::size_t of_output() const { return static_cast<std::size_t>(channels) * 9; }
  const std::int8_t* output(int o) const {
    return weights.data() + static_cast<std::size_t>(o) * of_output();
  }

  std::int64_t sum(int o, int y, int x) const {
    std::int64_t s = 0;
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
          s += output(o)[c * 9 + i * 3 + j] * input[static_cast<std::size_t>((c * 6 + y + i) * 6 + x + j)];
    return s;
  }
};

/// M of the tile: [36][16].
std::vector<std::int32_t> multiply(const KernelTable& table, const Tile& t) {
  const int blocks = (t.channels + 15) / 16, pairs = (t.channels + 1) / 2;
  std::vector<std::int16_t> v(static_cast<std::size_t>(36 * blocks * 16)),
      u(static_cast<std::size_t>(36 * pairs * 32));
  std::vector<int> block_pairs;
  for (int b = 0; b < blocks; ++b) {
    const int used = std::min(16, t.channels - b * 16), block = (used + 1) / 2;
    block_pairs.push_back(block);
    std::vector<std::int16_t> pixels(36 * 16, 99);  // lanes that no channel has: their weights are zero
    std::vector<std::int8_t> weights(static_cast<std::size_t>(9 * block * 32), 0);
    for (int c = 0; c < used; ++c) {
      for (int p = 0; p < 36; ++p)
        pixels[static_cast<std::size_t>(p * 16 + c)] =
            static_cast<std::int16_t>(t.input[static_cast<std::size_t>((b * 16 + c) * 36 + p)]);
      for (int k = 0; k < 9; ++k)
        for (int o = 0; o < 16; ++o)
          weights[static_cast<std::size_t>(((k * block + c / 2) * 16 + o) * 2 + c % 2)] =
              t.output(o)[(b * 16 + c) * 9 + k];
    }
    table.winograd_input_i16({pixels.data(), 6 * 16, 1, v.data() + b * 16, blocks * 16});
    table.winograd_weights_i16({weights.data(), block, u.data() + b * 8 * 32, pairs * 32});
  }
  std::vector<std::int32_t> m(36 * 16);
  for (int p = 0; p < 36; ++p)
    table.winograd_product_i16({v.data() + p * blocks * 16, 16, block_pairs.data(), blocks, 1,
                                u.data() + p * pairs * 32, 0, 1, m.data() + p * 16, 16});
  return m;
}

/// Of 256 outputs, how many are not the sum. Each is asked for with a bias of minus that sum: an output of
/// zero is exact to the last bit, which a logit, saturated at 2^23, could not show otherwise.
int wrong_outputs(const KernelTable& table, const Tile& t) {
  const std::vector<std::int32_t> m = multiply(table, t);
  const std::vector<float> one(16, 1.0f);
  int wrong = 0;
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x) {
      std::vector<std::int32_t> bias(16), out(4 * 4 * 16);
      for (int o = 0; o < 16; ++o)
        bias[static_cast<std::size_t>(o)] = static_cast<std::int32_t>(-t.sum(o, y, x));
      WinogradOutputI32Args a{};
      a.in = m.data(), a.position_stride = 16, a.out_stride = 4 * 16, a.rows = 4, a.width = 4;
      a.tail.bias = bias.data(), a.tail.m_pos = a.tail.m_neg = one.data(), a.tail.logit = out.data();
      table.winograd_output_i32(a);
      for (int o = 0; o < 16; ++o) wrong += out[static_cast<std::size_t>((y * 4 + x) * 16 + o)] != 0;
    }
  return wrong;
}

bool exact(const Tile& t) {
  for (int o = 0; o < 16; ++o)
    if (!winograd_is_exact(t.output(o), t.of_output())) return false;
  return true;
}

}  // namespace

TEST_CASE("integer Winograd equals the direct sum") {
  std::mt19937 rng(7);
  const auto coin = [&](int a, int b) { return rng() % 2 != 0 ? a : b; };
  for (const KernelTable* table : runnable_tables())
    for (const int channels : {1, 3, 16, 33, 64, 128})
      for (int mode = 0; mode < 6; ++mode) {
        Tile t(channels);
        for (auto& w : t.weights)
          w = static_cast<std::int8_t>(mode < 2    ? 127
                                       : mode == 2 ? -127
                                       : mode < 5  ? coin(127, -127)
                                                   : static_cast<int>(rng() % 255) - 127);
        for (auto& q : t.input) q = mode == 0 ? 255 : mode < 4 ? coin(0, 255) : static_cast<int>(rng() % 256);
        if (mode >= 3)  // a halo of a zero point
          for (std::size_t i = 0; i < t.input.size(); ++i)
            if (i % 36 < 6 || i % 6 == 0) t.input[i] = 128;
        INFO(std::string(table->isa), ": ", channels, " channels, mode ", mode);
        if (exact(t)) CHECK(wrong_outputs(*table, t) == 0);
        if (channels <= 64) CHECK(exact(t));  // whatever the weights are
      }
}

TEST_CASE("the bound of the integer Winograd kernels is where they stop being exact") {
  for (const KernelTable* table : runnable_tables())
    for (const int sign : {1, -1})
      for (const int total : {131586, 131587}) {  // 255 times them are the numbers next to 2^25
        Tile t(128);
        std::fill(t.input.begin(), t.input.end(), 255);
        for (int o = 0; o < 16; ++o) {
          int left = total;
          for (std::size_t i = 0; i < t.of_output(); ++i) {
            const int w = std::min(left, 127);
            t.weights[static_cast<std::size_t>(o) * t.of_output() + i] = static_cast<std::int8_t>(sign * w);
            left -= w;
          }
          REQUIRE(left == 0);
        }
        INFO(std::string(table->isa), ": ", sign * total);
        CHECK(exact(t) == (total == 131586));
        CHECK(wrong_outputs(*table, t) == (total == 131586 ? 0 : 256));
      }
}

TEST_CASE("the bound counts the worse sign, of signed inputs both") {
  const std::int8_t weights[] = {100, -127, 27, -1, 0};
  CHECK(largest_sum(weights, 5) == 128 * 255);
  CHECK(largest_sum(weights, 5, true) == 255 * 32768);
  CHECK(largest_sum(weights, 1) == 100 * 255);
  CHECK(largest_sum(weights, 0) == 0);
}
