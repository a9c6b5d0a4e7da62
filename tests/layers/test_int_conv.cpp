// The convolution layer of integer networks against a direct scalar convolution, byte for byte: every output,
// padding that is the zero point, strides, concat of unfilled blocks, residual in place, bands, thread
// counts, 2D and 3D, on every instruction set of this machine.
#include <doctest.h>
#include <microtome/core/requantize.hpp>
#include <microtome/layers/int_conv.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <vector>

using namespace microtome;

namespace {

// Integers in [low, high]; every third is one of the ends.
class Random {
 public:
  explicit Random(std::uint32_t seed) : rng_(seed) {}
  int operator()(int low, int high) {
    const int any = low + static_cast<int>(rng_() % static_cast<std::uint32_t>(high - low + 1));
    return rng_() % 3 != 0 ? any : rng_() % 2 != 0 ? high : low;
  }

 private:
  std::mt19937 rng_;
};

template <class T, int Rank>
struct Owned {
  Owned(int channels, const Index<Rank>& size, T low, T high, std::uint32_t seed)
      : memory(Tensor<T, Rank>::elements(channels, size) * sizeof(T)) {
    view = Tensor<T, Rank>::whole(memory.template as<T>(), channels, size);
    Random random(seed);
    std::generate_n(view.data, elements(), [&] { return static_cast<T>(random(low, high)); });
  }
  std::size_t elements() const { return memory.size() / sizeof(T); }
  T at(int c, const Index<Rank>& i) const { return view.pixel(c / 16, i)[c % 16]; }
  AlignedBuffer memory;
  Tensor<T, Rank> view;
};

template <int Rank>
void for_each_pixel(const Index<Rank>& size, const std::function<void(const Index<Rank>&)>& f) {
  for_each_row<Rank>(Index<Rank>{}, size, [&](Index<Rank> at) {
    for (at[Rank - 1] = 0; at[Rank - 1] < size[Rank - 1]; ++at[Rank - 1]) f(at);
  });
}

enum class Output { act, raw, sum, logits };  // sum: raw plus residual

struct Case {
  std::vector<int> in;
  int out, kernel = 3, stride = 1;
  Output output = Output::act;
  bool raw_input = false;  // 16 bits as they are: 1x1 only
  std::vector<int> threads = {1};
  int weight = 127;  // largest
};

template <int Rank>
class Check {
 public:
  Check(const Case& c, const Index<Rank>& out_size) : case_(c), size_(out_size) {
    Index<Rank> in_size = out_size, window{};
    for (auto& s : in_size) s *= c.stride;
    window.fill(c.kernel);
    taps_ = static_cast<int>(volume<Rank>(window));
    for (const int n : c.in) inputs_ += n;
    Random random(7);
    weight_.resize(static_cast<std::size_t>(c.out * inputs_ * taps_));
    for (auto& w : weight_) w = static_cast<std::int16_t>(random(-c.weight, c.weight));
    scaling_.zero_point = 31;
    for (int o = 0; o < c.out; ++o) {
      scaling_.bias.push_back(random(-40000, 40000));
      scaling_.multiplier.push_back((c.output == Output::act ? 255.0f : 60000.0f) *
                                    (0.5f + 0.01f * static_cast<float>(o)) /
                                    (255.0f * 127.0f * std::sqrt(static_cast<float>(inputs_ * taps_))));
    }
    for (std::size_t i = 0; i < c.in.size(); ++i) {
      const std::uint32_t seed = 20 + static_cast<std::uint32_t>(i);
      if (c.raw_input) {
        raws_.emplace_back(c.in[i], in_size, std::int16_t{-32768}, std::int16_t{32767}, seed);
        sources_.push_back(std::make_unique<RawSource<Rank>>(raws_.back().view, nullptr));
      } else {
        acts_.emplace_back(c.in[i], in_size, std::uint8_t{0}, std::uint8_t{255}, seed);
        sources_.push_back(std::make_unique<ActSource<Rank>>(acts_.back().view, 99));
      }
      list_.push_back(sources_.back().get());
    }
  }

  const std::int16_t* row(int o) const {
    return weight_.data() + static_cast<std::size_t>(o) * static_cast<std::size_t>(inputs_ * taps_);
  }

  IntConv<Rank> conv(ConvAlgorithm algorithm) const {
    const float slope = case_.output == Output::act ? kLeakySlope : kNoActivation;
    return IntConv<Rank>(
        {case_.in, case_.out, case_.kernel, case_.stride, slope, algorithm},
        [this](int o, std::int16_t* to) { std::copy_n(row(o), inputs_ * taps_, to); }, scaling_);
  }

  // With every instruction set and number of threads, whole and in two bands.
  void run(ConvAlgorithm algorithm) const {
    const IntConv<Rank> layer = conv(algorithm);
    for (const KernelTable* table : runnable_tables())
      for (const int threads : case_.threads)
        for (const std::int64_t split : {std::int64_t{0}, size_[0] / 2}) {
          INFO(table->isa, ", ", to_string(algorithm), ", ", inputs_, " -> ", case_.out, ", ", threads,
               " threads, split at ", split);
          DefaultExecutor executor(threads);
          std::vector<AlignedBuffer> scratch;
          for (int w = 0; w < threads; ++w)
            scratch.emplace_back(layer.scratch_bytes(size_, threads, case_.output == Output::logits));
          AlignedBuffer shared(layer.shared_bytes(size_));
          const RunContext ctx{table, &executor, &scratch, &shared};
          const Rows bands[2] = {{0, split, size_[0]}, {split, size_[0], size_[0]}};
          compare(ctx, layer, bands);
        }
  }

 private:
  void compare(const RunContext& ctx, const IntConv<Rank>& layer, const Rows (&bands)[2]) const {
    if (case_.output == Output::act) {
      const Owned<std::uint8_t, Rank> got(case_.out, size_, 0, 255, 1);
      for (const Rows& rows : bands) layer.run(ctx, list_, got.view, rows);
      count_wrong([&](int o, const Index<Rank>& at, std::int32_t v) {
        const float m = scaling_.multiplier[static_cast<std::size_t>(o)];
        return got.at(o, at) != to_act(v, m, m * kLeakySlope, scaling_.zero_point);
      });
    } else if (case_.output == Output::logits) {
      std::vector<std::int32_t> got(static_cast<std::size_t>(volume<Rank>(size_) * case_.out));
      const auto place = [&](const Index<Rank>& at) {
        std::int64_t i = 0;
        for (int d = 0; d < Rank; ++d) i = i * size_[d] + at[d];
        return static_cast<std::size_t>(i * case_.out);
      };
      for (const Rows& rows : bands)
        layer.run_to(ctx, list_, size_, rows,
                     [&](const Index<Rank>& begin, const Index<Rank>& end, const Index<Rank>& tile,
                         const std::int32_t* logits) {
                       for_each_row<Rank>(begin, end, [&](Index<Rank> at) {
                         std::int64_t r = 0;
                         for (int d = 0; d < Rank - 1; ++d) r = r * tile[d] + at[d] - begin[d];
                         const std::int32_t* in = logits + r * tile[Rank - 1] * kChannelBlock;
                         for (; at[Rank - 1] < end[Rank - 1]; ++at[Rank - 1], in += kChannelBlock)
                           for (int o = 0; o < case_.out; ++o)
                             got[place(at) + static_cast<std::size_t>(o)] =
                                 in[o / 16 * volume<Rank>(tile) * kChannelBlock + o % 16];
                       });
                     });
      count_wrong([&](int o, const Index<Rank>& at, std::int32_t v) {
        return got[place(at) + static_cast<std::size_t>(o)] !=
               to_logit(v, scaling_.multiplier[static_cast<std::size_t>(o)]);
      });
    } else {
      const bool add = case_.output == Output::sum;
      const Owned<std::int16_t, Rank> got(case_.out, size_, -30000, 30000, 1),
          before(case_.out, size_, -30000, 30000, 1);
      for (const Rows& rows : bands) layer.run(ctx, list_, got.view, add ? &got.view : nullptr, rows);
      count_wrong([&](int o, const Index<Rank>& at, std::int32_t v) {
        return got.at(o, at) != to_raw(v, scaling_.multiplier[static_cast<std::size_t>(o)],
                                       add ? before.at(o, at) : std::int16_t{0});
      });
    }
  }

  std::int32_t sum(int o, const Index<Rank>& at) const {
    std::int32_t v = scaling_.bias[static_cast<std::size_t>(o)];
    const std::int16_t* w = row(o);
    Index<Rank> window{};
    window.fill(case_.kernel);
    for (std::size_t i = 0; i < case_.in.size(); ++i)
      for (int c = 0; c < case_.in[i]; ++c)
        for_each_pixel<Rank>(window, [&](const Index<Rank>& k) {
          Index<Rank> from{};
          bool inside = true;
          for (int d = 0; d < Rank; ++d) {
            from[d] = at[d] * case_.stride - case_.kernel / 2 + k[d];
            inside = inside && from[d] >= 0 && from[d] < size_[d] * case_.stride;
          }
          const int x = !inside           ? 99
                        : case_.raw_input ? int{raws_[i].at(c, from)}
                                          : int{acts_[i].at(c, from)};
          v = wrapping_add(v, *w++ * x);
        });
    return v;
  }

  template <class Differs>
  void count_wrong(Differs&& differs) const {
    if (want_.empty())
      for (int o = 0; o < case_.out; ++o)
        for_each_pixel<Rank>(size_, [&](const Index<Rank>& at) { want_.push_back(sum(o, at)); });
    std::size_t wrong = 0, i = 0;
    for (int o = 0; o < case_.out; ++o)
      for_each_pixel<Rank>(size_, [&](const Index<Rank>& at) { wrong += differs(o, at, want_[i++]); });
    CHECK(wrong == 0);
  }

  Case case_;
  Index<Rank> size_;
  int inputs_ = 0, taps_ = 0;
  std::vector<std::int16_t> weight_;
  IntScaling scaling_;
  std::vector<Owned<std::uint8_t, Rank>> acts_;
  std::vector<Owned<std::int16_t, Rank>> raws_;
  std::vector<std::unique_ptr<RowSource<std::int16_t, Rank>>> sources_;
  Sources<std::int16_t, Rank> list_;
  mutable std::vector<std::int32_t> want_;  // sums with bias
};

void check_both(const Case& c, const Index<2>& size) {
  const Check<2> check(c, size);
  check.run(ConvAlgorithm::direct);
  check.run(ConvAlgorithm::winograd4);
}

}  // namespace

TEST_CASE("3x3 integer convolutions: both algorithms are the definition, byte for byte") {
  check_both({{16}, 16}, {1, 1});
  check_both({{17}, 33, 3, 1, Output::raw}, {7, 13});
  check_both({{5, 7}, 12, 3, 1, Output::sum}, {9, 26});
  check_both({{33}, 5}, {34, 41});
  for (int channels = 1; channels <= 17; ++channels) check_both({{channels}, 18 - channels}, {5, 9});
}

TEST_CASE("integer convolutions that Winograd cannot compute") {
  Check<2>({{3}, 16}, {11, 14}).run(ConvAlgorithm::direct);
  Check<2>({{20}, 36, 3, 2, Output::raw}, {9, 5}).run(ConvAlgorithm::direct);
  Check<2>({{36}, 17, 1, 1, Output::raw, true}, {6, 11}).run(ConvAlgorithm::direct);
  Check<2>({{20}, 19, 3, 1, Output::logits}, {10, 33}).run(ConvAlgorithm::direct);
}

TEST_CASE("integer convolutions in 3D") {
  Check<3>({{3, 6}, 5}, {3, 5, 7}).run(ConvAlgorithm::direct);
  Check<3>({{6}, 18, 3, 2, Output::raw}, {2, 2, 5}).run(ConvAlgorithm::direct);
  Check<3>({{12}, 6, 1, 1, Output::raw, true}, {2, 4, 6}).run(ConvAlgorithm::direct);
}

TEST_CASE("integer layers give the same bytes on any number of threads") {
  check_both({{20}, 40, 3, 1, Output::act, false, {1, 2, 7, 23}}, {21, 30});
}

TEST_CASE("integer Winograd layers whose weights are transformed on the fly") {
  Check<2>({{100, 60}, 110, 3, 1, Output::sum, false, {1, 2, 7, 23}}, {7, 10}).run(ConvAlgorithm::winograd4);
}

TEST_CASE("integer Winograd layers whose transformed input does not fit the shared memory at once") {
  const Index<2> size = {24, 50};
  const Check<2> check({{2048}, 8, 3, 1, Output::sum, false, {1, 3}, 3}, size);
  const std::size_t half = 3 * 13 * 36 * 2048 * sizeof(std::int16_t);
  REQUIRE(check.conv(ConvAlgorithm::winograd4).shared_bytes(size) < half);  // nor does that of half the rows
  check.run(ConvAlgorithm::winograd4);
}

TEST_CASE("the largest sums that Winograd computes exactly, and the first that it does not") {
  for (const int inputs : {115, 116}) {
    const std::vector<std::int16_t> weight(static_cast<std::size_t>(inputs * 9), 127);
    const Owned<std::uint8_t, 2> input(inputs, {6, 6}, 255, 255, 1), got(1, {6, 6}, 0, 0, 1);
    const ActSource<2> source(input.view, 255);
    const auto make = [&](ConvAlgorithm a) {
      return IntConv<2>({{inputs}, 1, 3, 1, kNoActivation, a},
                        [&](int, std::int16_t* to) { std::copy(weight.begin(), weight.end(), to); },
                        {{1}, {0x1p-18f}, 0});
    };
    if (inputs == 116) CHECK_THROWS_AS(make(ConvAlgorithm::winograd4), UsageError);
    const IntConv<2> conv = make(inputs == 115 ? ConvAlgorithm::winograd4 : ConvAlgorithm::direct);
    DefaultExecutor executor(1);
    std::vector<AlignedBuffer> scratch;
    scratch.emplace_back(conv.scratch_bytes({6, 6}, 1));
    AlignedBuffer shared(conv.shared_bytes({6, 6}));
    conv.run({&kernels(), &executor, &scratch, &shared}, {&source}, got.view, {0, 6, 6});
    for_each_pixel<2>({6, 6}, [&](const Index<2>& at) {
      CHECK(int{got.at(0, at)} == int{to_act(inputs * 9 * 127 * 255 + 1, 0x1p-18f, 0x1p-18f, 0)});
    });
  }
}

TEST_CASE("integer layers refuse algorithms they do not have") {
  const auto make = [](const ConvShape& s) { IntConv<2>(s, [](int, std::int16_t*) {}, {{0}, {1.0f}, 0}); };
  CHECK_THROWS_AS(make({{16}, 1, 3, 2, kNoActivation, ConvAlgorithm::winograd4}), UsageError);
  CHECK_THROWS_AS(make({{16}, 1, 3, 1, kNoActivation, ConvAlgorithm::winograd6}), UsageError);
  CHECK_THROWS_AS(make({{16}, 1, 3, 1, kNoActivation, ConvAlgorithm::head}), UsageError);
  const IntConv<2> conv({{16}, 1, 3, 1, kNoActivation, ConvAlgorithm::winograd4},
                        [](int, std::int16_t* row) { std::fill_n(row, 16 * 9, std::int16_t{1}); },
                        {{0}, {1.0f}, 0});
  CHECK_THROWS_AS(conv.run_to({}, {}, {8, 8}, {0, 8, 8}, [](auto&&...) {}), UsageError);
}
