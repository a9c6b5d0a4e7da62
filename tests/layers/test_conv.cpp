// The fused convolution layer against a direct double-precision convolution, 2D and 3D: padding, strides,
// concat of unfilled blocks, prologues that must not touch padding, resize on load, residual in place, thread
// counts.
#include <doctest.h>
#include <microtome/layers/conv.hpp>

#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <vector>

using namespace microtome;

namespace {

std::vector<float> noise(std::size_t n, std::uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<float> v(n);
  for (float& f : v) f = static_cast<float>(rng() >> 8) / 8388608.0f - 1.0f;
  return v;
}

// A tensor with its memory, filled from planar values.
template <int Rank>
struct Owned {
  Owned(int channels, const Index<Rank>& size)
      : memory(Tensor<float, Rank>::elements(channels, size) * sizeof(float)) {
    view = Tensor<float, Rank>::whole(memory.template as<float>(), channels, size);
    std::fill(view.data, view.data + memory.size() / sizeof(float), 0.0f);
  }
  float& at(int c, Index<Rank> i) { return view.pixel(c / 16, i)[c % 16]; }
  AlignedBuffer memory;
  Tensor<float, Rank> view;
};

template <int Rank>
void for_each_pixel(const Index<Rank>& size, const std::function<void(const Index<Rank>&)>& f) {
  for_each_row<Rank>(Index<Rank>{}, size, [&](Index<Rank> at) {
    for (at[Rank - 1] = 0; at[Rank - 1] < size[Rank - 1]; ++at[Rank - 1]) f(at);
  });
}

template <int Rank>
Owned<Rank> random_tensor(int channels, const Index<Rank>& size, std::uint32_t seed) {
  Owned<Rank> t(channels, size);
  const auto v = noise(static_cast<std::size_t>(channels * volume<Rank>(size)), seed);
  std::size_t i = 0;
  for (int c = 0; c < channels; ++c)
    for_each_pixel<Rank>(size, [&](const Index<Rank>& at) { t.at(c, at) = v[i++]; });
  return t;
}

Affine random_affine(int channels, std::uint32_t seed) {
  return {noise(static_cast<std::size_t>(channels), seed),
          noise(static_cast<std::size_t>(channels), seed + 1)};
}

double leaky(double v, double slope) {
  return v < 0 ? v * slope : v;
}

// Direct convolution of `input(channel, position)`, a function that is only asked inside the input.
template <int Rank>
double direct(const std::function<double(int, const Index<Rank>&)>& input, const Index<Rank>& in_size,
              int channels, const std::vector<float>& weight, int o, int kernel, int stride,
              const Index<Rank>& at) {
  double sum = 0;
  Index<Rank> window{};
  window.fill(kernel);
  const std::int64_t columns = volume<Rank>(window);
  for (int c = 0; c < channels; ++c) {
    std::int64_t tap = 0;
    for_each_pixel<Rank>(window, [&](const Index<Rank>& k) {
      Index<Rank> from{};
      bool inside = true;
      for (int d = 0; d < Rank; ++d) {
        from[d] = at[d] * stride - kernel / 2 + k[d];
        inside = inside && from[d] >= 0 && from[d] < in_size[d];
      }
      if (inside)
        sum += input(c, from) *
               static_cast<double>(weight[static_cast<std::size_t>((o * channels + c) * columns + tap)]);
      ++tap;
    });
  }
  return sum;
}

template <int Rank>
void check_with(ConvAlgorithm algorithm, const Index<Rank>& out_size, std::vector<int> in, int out,
                int kernel, int stride, bool norm, bool residual, bool resize_first, int threads) {
  Index<Rank> size = out_size;
  for (auto& s : size) s *= stride;
  int total = 0;
  for (const int c : in) total += c;
  Index<Rank> window{};
  window.fill(kernel);
  const auto weight = noise(static_cast<std::size_t>(out * total * volume<Rank>(window)), 11),
             bias = noise(static_cast<std::size_t>(out), 12);
  const Affine after = random_affine(out, 13);
  const float slope = residual ? kNoActivation : kLeakySlope;
  const Conv<float, Rank> conv({in, out, kernel, stride, slope, algorithm}, rows_of(weight, out), bias,
                               after);

  std::vector<Owned<Rank>> inputs;
  std::vector<Prologue> prologues;
  std::vector<Affine> affines;
  for (std::size_t i = 0; i < in.size(); ++i) {
    Index<Rank> s = size;
    if (resize_first && i == 0)
      for (auto& v : s) v /= 2;
    inputs.push_back(random_tensor<Rank>(in[i], s, 20 + static_cast<std::uint32_t>(i)));
    affines.push_back(random_affine(in[i], 30 + static_cast<std::uint32_t>(i)));
    prologues.push_back(norm ? Prologue(affines[i], kLeakySlope, in[i]) : Prologue());
  }
  std::vector<std::unique_ptr<RowSource<float, Rank>>> sources;
  std::vector<const RowSource<float, Rank>*> list;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (resize_first && i == 0)
      sources.push_back(std::make_unique<UpsampledSource<Rank>>(inputs[i].view, kLeakySlope));
    else
      sources.push_back(std::make_unique<TensorSource<Rank>>(inputs[i].view, &prologues[i]));
    list.push_back(sources.back().get());
  }
  Owned<Rank> output = random_tensor<Rank>(out, out_size, 40),
              before = random_tensor<Rank>(out, out_size, 40);
  DefaultExecutor executor(threads);
  std::vector<AlignedBuffer> scratch;
  for (int w = 0; w < threads; ++w) scratch.emplace_back(conv.scratch_bytes(out_size, threads));
  AlignedBuffer shared(conv.shared_bytes(out_size));
  const RunContext ctx{&kernels(), &executor, &scratch, &shared};
  // In two bands: what a band leaves to the next must not show.
  const std::int64_t middle = out_size[0] / 2;
  conv.run(ctx, list, output.view, residual ? &output.view : nullptr, {0, middle, out_size[0]});
  conv.run(ctx, list, output.view, residual ? &output.view : nullptr, {middle, out_size[0], out_size[0]});

  const auto input = [&](int c, const Index<Rank>& at) -> double {
    std::size_t i = 0;
    for (; c >= in[i]; ++i) c -= in[i];
    if (!(resize_first && i == 0)) {
      const double v = inputs[i].at(c, at);
      const std::size_t n = static_cast<std::size_t>(c);
      return norm ? leaky(v * static_cast<double>(affines[i].scale[n]) +
                              static_cast<double>(affines[i].shift[n]),
                          0.01)
                  : v;
    }
    double sum = 0;
    for (int corner = 0; corner < 1 << Rank; ++corner) {
      Index<Rank> from{};
      double w = 1;
      for (int d = 0; d < Rank; ++d) {
        const std::int64_t n = inputs[0].view.size[d];
        const double s = n == 1 ? 0.0 : static_cast<double>(at[d] * (n - 1)) / static_cast<double>(2 * n - 1);
        const std::int64_t lo = static_cast<std::int64_t>(s);
        const bool upper = ((corner >> d) & 1) != 0;
        from[d] = upper ? std::min(lo + 1, n - 1) : lo;
        w *= upper ? s - static_cast<double>(lo) : 1 - (s - static_cast<double>(lo));
      }
      sum += w * static_cast<double>(inputs[0].at(c, from));
    }
    return leaky(sum, 0.01);
  };
  double worst = 0, squares = 0;
  for (int o = 0; o < out; ++o)
    for_each_pixel<Rank>(out_size, [&](const Index<Rank>& at) {
      const std::size_t n = static_cast<std::size_t>(o);
      double v =
          direct<Rank>(input, size, total, weight, o, kernel, stride, at) + static_cast<double>(bias[n]);
      v = leaky(v * static_cast<double>(after.scale[n]) + static_cast<double>(after.shift[n]),
                static_cast<double>(slope));
      if (residual) v += static_cast<double>(before.at(o, at));
      squares += v * v;
      worst = std::max(worst, std::fabs(v - static_cast<double>(output.at(o, at))));
    });
  for_each_pixel<Rank>(out_size, [&](const Index<Rank>& at) {  // unused lanes are zero
    const float* last = output.view.pixel(channel_blocks(out) - 1, at);
    if (!residual)
      for (int lane = (out - 1) % kChannelBlock + 1; lane < kChannelBlock; ++lane)
        worst = last[lane] == 0.0f ? worst : INFINITY;
  });
  INFO(to_string(algorithm), ", rank ", Rank, ", ", total, " -> ", out, ", kernel ", kernel, ", stride ",
       stride, ", norm ", norm, ", resize ", resize_first);
  // Rounding relative to the size of the results: Winograd's sums cancel, so its error is larger.
  const double rms = std::sqrt(squares / static_cast<double>(out * volume<Rank>(out_size)));
  CHECK(worst < (algorithm == ConvAlgorithm::direct ? 1e-5 : 2e-4) * std::max(1.0, rms));
}

// With every algorithm that can compute it.
template <int Rank>
void check(const Index<Rank>& out_size, const std::vector<int>& in, int out, int kernel, int stride,
           bool norm, bool residual, bool resize_first, int threads) {
  check_with<Rank>(ConvAlgorithm::direct, out_size, in, out, kernel, stride, norm, residual, resize_first,
                   threads);
  if (Rank != 2 || kernel != 3 || stride != 1) return;
  for (const ConvAlgorithm a : {ConvAlgorithm::winograd4, ConvAlgorithm::winograd6})
    check_with<Rank>(a, out_size, in, out, kernel, stride, norm, residual, resize_first, threads);
}

}  // namespace

TEST_CASE("2D convolutions of every kind match a direct one") {
  for (const int threads : {1, 3})
    for (const bool norm : {false, true}) {
      check<2>({7, 13}, {3}, 5, 3, 1, norm, false, false, threads);
      check<2>({33, 40}, {17}, 33, 3, 1, norm, true, false, threads);
      check<2>({5, 9}, {16}, 32, 3, 2, norm, false, false, threads);
      check<2>({1, 1}, {8}, 4, 3, 1, norm, true, false, threads);
      check<2>({6, 11}, {20}, 10, 1, 1, norm, false, false, threads);
      check<2>({8, 12}, {5, 7}, 12, 3, 1, norm, true, false, threads);
      check<2>({8, 12}, {5, 7}, 12, 3, 1, norm, false, true, threads);
      check<2>({2, 2}, {16, 16}, 16, 3, 1, norm, false, true, threads);
    }
}

TEST_CASE("tiles that split a large image change nothing") {
  check<2>({70, 300}, {18}, 20, 3, 1, true, true, false, 2);
}

TEST_CASE("Winograd layers whose weights are transformed on the fly") {
  for (const ConvAlgorithm a : {ConvAlgorithm::winograd4, ConvAlgorithm::winograd6}) {
    check_with<2>(a, {7, 5}, {256}, 256, 3, 1, false, true, false, 3);
    check_with<2>(a, {14, 2}, {300, 212}, 129, 3, 1, true, false, false, 1);
  }
}

TEST_CASE("Winograd layers whose transformed input does not fit the shared memory at once") {
  const Index<2> size = {20, 30};
  for (const std::int64_t tile : {4, 6}) {
    const ConvAlgorithm a = tile == 4 ? ConvAlgorithm::winograd4 : ConvAlgorithm::winograd6;
    const auto weight = noise(8 * 2048 * 9, 11);
    const Conv<float, 2> conv({{2048}, 8, 3, 1, kNoActivation, a}, rows_of(weight, 8),
                              std::vector<float>(8, 0.0f), {});
    const std::int64_t half = (size[0] / 2 + tile - 1) / tile * ((size[1] + tile - 1) / tile);
    const std::size_t elements = static_cast<std::size_t>(half * (tile + 2) * (tile + 2) * 2048);
    REQUIRE(conv.shared_bytes(size) < elements * sizeof(float));  // nor does that of either band of the check
    check_with<2>(a, size, {2048}, 8, 3, 1, false, true, false, 3);
  }
}

TEST_CASE("every channel count") {
  for (int channels = 1; channels <= 33; ++channels)
    check<2>({5, 9}, {channels}, 34 - channels, 3, 1, true, true, false, 1);
}

TEST_CASE("a band reads nothing below what it needs") {
  const Index<2> size = {40, 21};
  const auto weight = noise(20 * 20 * 9, 3);
  for (const ConvAlgorithm a : {ConvAlgorithm::direct, ConvAlgorithm::winograd4, ConvAlgorithm::winograd6}) {
    const Conv<float, 2> conv({{20}, 20, 3, 1, kLeakySlope, a}, rows_of(weight, 20),
                              std::vector<float>(20, 0.1f), {});
    DefaultExecutor executor(1);
    std::vector<AlignedBuffer> scratch;
    scratch.emplace_back(conv.scratch_bytes(size, 1));
    const RunContext ctx{&kernels(), &executor, &scratch};
    for (std::int64_t end = 1; end <= 20; ++end) {
      Owned<2> input = random_tensor<2>(20, size, 7), clean(20, size), got(20, size);
      const TensorSource<2> source(input.view, nullptr);
      conv.run(ctx, {&source}, clean.view, nullptr, {0, end, size[0]});
      for (int block = 0; block < 2; ++block)
        std::fill(input.view.pixel(block, {end + 1, 0}), input.view.pixel(block, {size[0] - 1, size[1]}),
                  NAN);
      conv.run(ctx, {&source}, got.view, nullptr, {0, end, size[0]});
      CAPTURE(end);
      CHECK(std::equal(got.view.data, got.view.data + got.memory.size() / sizeof(float), clean.view.data));
    }
  }
}

TEST_CASE("algorithms refuse what they cannot compute") {
  const std::vector<float> weight(32 * 16 * 27, 0.1f), bias(32, 0.0f);
  const auto make2 = [&](const ConvShape& s) { Conv<float, 2>(s, rows_of(weight, s.out), bias, {}); };
  CHECK_THROWS_AS(make2({{16}, 16, 3, 2, kNoActivation, ConvAlgorithm::winograd4}), UsageError);
  CHECK_THROWS_AS(make2({{16}, 16, 1, 1, kNoActivation, ConvAlgorithm::winograd6}), UsageError);
  CHECK_THROWS_AS(make2({{16}, 17, 3, 1, kNoActivation, ConvAlgorithm::head}), UsageError);
  CHECK_THROWS_AS(make2({{16}, 2, 3, 1, kLeakySlope, ConvAlgorithm::head}), UsageError);
  const ConvShape cube{{16}, 16, 3, 1, kNoActivation, ConvAlgorithm::winograd4};
  CHECK_THROWS_AS((Conv<float, 3>(cube, rows_of(weight, 16), bias, {})), UsageError);
  const ConvShape square{{16}, 16, 3, 1, kNoActivation, ConvAlgorithm::winograd4};
  const std::vector<float> small(16 * 16 * 9, 0.1f);
  const Conv<float, 2> conv(square, rows_of(small, 16), bias, {});
  CHECK_THROWS_AS(conv.run_to({}, {}, {8, 8}, {0, 8, 8}, [](auto&&...) {}), UsageError);
}

TEST_CASE("results do not depend on the number of threads") {
  for (const int out : {40, 300})
    for (const ConvAlgorithm a :
         {ConvAlgorithm::direct, ConvAlgorithm::winograd4, ConvAlgorithm::winograd6}) {
      const int in = out == 40 ? 20 : 256;
      const Index<2> size = {37, 50};
      const auto weight = noise(static_cast<std::size_t>(in * out * 9), 5);
      const Conv<float, 2> conv({{in}, out, 3, 1, kLeakySlope, a}, rows_of(weight, out),
                                std::vector<float>(static_cast<std::size_t>(out), 0.1f), {});
      const Owned<2> input = random_tensor<2>(in, size, 7);
      std::vector<float> first;
      for (const int threads : {1, 2, 7, 23}) {
        Owned<2> output(out, size);
        DefaultExecutor executor(threads);
        std::vector<AlignedBuffer> scratch;
        for (int w = 0; w < threads; ++w) scratch.emplace_back(conv.scratch_bytes(size, threads));
        AlignedBuffer shared(conv.shared_bytes(size));
        const TensorSource<2> source(input.view, nullptr);
        conv.run({&kernels(), &executor, &scratch, &shared}, {&source}, output.view);
        const float* begin = output.view.data;
        const std::vector<float> got(begin, begin + output.memory.size() / sizeof(float));
        if (first.empty()) first = got;
        CHECK(got == first);
      }
    }
}

TEST_CASE("3D convolutions of every kind match a direct one") {
  check<3>({3, 5, 7}, {3}, 5, 3, 1, true, false, false, 2);
  check<3>({4, 3, 9}, {17}, 18, 3, 1, true, true, false, 1);
  check<3>({3, 2, 5}, {6}, 12, 3, 2, true, false, false, 1);
  check<3>({4, 6, 8}, {4, 4}, 8, 3, 1, true, false, true, 2);
  check<3>({2, 4, 6}, {12}, 6, 1, 1, false, false, false, 1);
}
