// Every kernel of every instruction set this CPU runs, in GMAC/s or GB/s. kernels.inc drives it: a kernel
// without a bench_<operator> does not compile.
//   build/bench/bench_kernels --benchmark_filter=conv_row
// The first line is the FMA peak of one core, measured in the same run: compare conv_row_f32 with it.
#include <benchmark/benchmark.h>
#include <microtome/core/kernel_table.hpp>
#include <microtome/core/tensor.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "fma_peak.hpp"

namespace {

using namespace microtome;
using benchmark::Counter;

std::vector<float> ones(std::size_t n) {
  return std::vector<float>(n, 0.5f);
}

std::string name(const KernelTable& table, const char* op, const std::string& shape) {
  return std::string(op) + "/" + table.isa + "/" + shape;
}

// One strip as the layer makes it: `rows` output rows of `width` pixels, `in` -> 16 channels, 3x3.
void bench_conv_row_f32(const KernelTable& table) {
  for (const int in : {3, 16, 32, 64, 128, 256})
    for (const int stride : {1, 2}) {
      const int width = 48, rows = 4;
      const std::string shape =
          std::to_string(in) + "x16/" + std::to_string(width) + "px/s" + std::to_string(stride);
      benchmark::RegisterBenchmark(name(table, "conv_row_f32", shape).c_str(), [&table, in,
                                                                                stride](benchmark::State& s) {
        std::vector<int> channels;
        for (int n = in; n > 0; n -= 16) channels.push_back(std::min(n, 16));
        const std::ptrdiff_t row = ((width - 1) * stride + 3) * 16, taps[3] = {0, row, 2 * row};
        const int strip_rows = (rows - 1) * stride + 3;
        const std::vector<float> input = ones(static_cast<std::size_t>(row * strip_rows) * channels.size());
        const std::vector<float> weights = ones(static_cast<std::size_t>(in) * 9 * 16), bias = ones(16);
        std::vector<float> out(static_cast<std::size_t>(width) * 16);
        ConvRowArgs a{};
        a.block_stride = row * strip_rows;
        a.block_channels = channels.data();
        a.blocks = static_cast<int>(channels.size());
        a.tap_rows = taps;
        a.taps = 3, a.kernel_width = 3, a.stride = stride;
        a.weights = weights.data(), a.bias = bias.data(), a.slope = 0.01f;
        a.out_channels = 16, a.out = out.data(), a.width = width;
        for (auto _ : s)
          for (int y = 0; y < rows; ++y) {
            a.in = input.data() + y * stride * row;
            table.conv_row_f32(a);
            benchmark::ClobberMemory();
          }
        s.counters["GMAC/s"] = Counter(
            static_cast<double>(s.iterations()) * rows * width * 16 * in * 9 * 1e-9, Counter::kIsRate);
      });
    }
}

void bench_load_row_f32(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "load_row_f32", "512px").c_str(), [&table](benchmark::State& s) {
    const std::vector<float> in = ones(512 * 16), scale = ones(16), shift = ones(16);
    std::vector<float> out(in.size());
    for (auto _ : s) {
      table.load_row_f32({in.data(), scale.data(), shift.data(), 0.01f, out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 64 * 2);
  });
}

void bench_upsample_row_f32(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "upsample_row_f32", "512px").c_str(),
                               [&table](benchmark::State& s) {
                                 const std::vector<float> in = ones(2 * 256 * 16), fraction = ones(512);
                                 std::vector<std::int32_t> lo(512), hi(512);
                                 for (int i = 0; i < 512; ++i)
                                   lo[static_cast<std::size_t>(i)] = i * 255 / 511,
                                   hi[static_cast<std::size_t>(i)] = std::min(255, i * 255 / 511 + 1);
                                 std::vector<float> out(512 * 16);
                                 UpsampleRowArgs a{};
                                 a.rows[0] = in.data(), a.rows[1] = in.data() + 256 * 16;
                                 a.row_weight[0] = 0.25f, a.row_weight[1] = 0.75f;
                                 a.row_count = 2;
                                 a.lo = lo.data(), a.hi = hi.data(), a.fraction = fraction.data();
                                 a.slope = 0.01f, a.out = out.data(), a.width = 512;
                                 for (auto _ : s) {
                                   table.upsample_row_f32(a);
                                   benchmark::ClobberMemory();
                                 }
                                 s.SetBytesProcessed(s.iterations() * 512 * 64);
                               });
}

void bench_image_row_u8(const KernelTable& table) {
  benchmark::RegisterBenchmark(name(table, "image_row_u8", "512px").c_str(), [&table](benchmark::State& s) {
    const std::vector<std::uint8_t> in(512 * 3, 200);
    const std::vector<float> scale = ones(3), shift = ones(3);
    std::vector<float> out(512 * 16);
    for (auto _ : s) {
      table.image_row_u8({in.data(), 3, scale.data(), shift.data(), out.data(), 512});
      benchmark::ClobberMemory();
    }
    s.SetBytesProcessed(s.iterations() * 512 * 3);
  });
}

void bench_probabilities_f32(const KernelTable& table) {
  for (const FinalLayer layer : {FinalLayer::sigmoid, FinalLayer::softmax})
    benchmark::RegisterBenchmark(
        name(table, "probabilities_f32", layer == FinalLayer::softmax ? "softmax2/512px" : "sigmoid2/512px")
            .c_str(),
        [&table, layer](benchmark::State& s) {
          const std::vector<float> logits = ones(512 * 16);
          std::vector<float> out(512 * 2);
          for (auto _ : s) {
            table.probabilities_f32({logits.data(), 512 * 16, 2, layer, 1.0f, out.data(), 512, 512});
            benchmark::ClobberMemory();
          }
          s.SetItemsProcessed(s.iterations() * 512);
        });
}

void bench_head_row_f32(const KernelTable& table) {
  for (const int outputs : {1, 2})
    benchmark::RegisterBenchmark(
        name(table, "head_row_f32", "64x" + std::to_string(outputs) + "/512px").c_str(),
        [&table, outputs](benchmark::State& s) {
          constexpr std::ptrdiff_t row = 514 * 16, taps[3] = {0, row, 2 * row};
          const std::vector<float> in = ones(4 * 3 * row), bias = ones(2);
          const std::vector<float> weights = ones(static_cast<std::size_t>(outputs) * 4 * 9 * 16);
          std::vector<float> out(512 * 16);
          for (auto _ : s) {
            table.head_row_f32(
                {in.data(), 3 * row, 4, taps, 3, 3, weights.data(), bias.data(), outputs, out.data(), 512});
            benchmark::ClobberMemory();
          }
          s.counters["GMAC/s"] =
              Counter(static_cast<double>(s.iterations()) * 512 * 64 * 9 * outputs * 1e-9, Counter::kIsRate);
        });
}

// One row of 24 tiles of one channel block; bytes in and out.
void bench_winograd_input_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_input_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int n = tile + 2, width = 24 * tile + 2;
          const std::vector<float> in = ones(static_cast<std::size_t>(n * width) * 16);
          std::vector<float> out(static_cast<std::size_t>(n * n * 25) * 16);
          for (auto _ : s) {
            table.winograd_input_f32({in.data(), width * 16, tile, 24, out.data(), 25 * 16});
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (n * width + n * n * 24) * 64);
        });
}

// The weights of one input block.
void bench_winograd_weights_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_weights_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int positions = (tile + 2) * (tile + 2);
          const std::vector<float> weights = ones(9 * 16 * 16);
          std::vector<float> out(static_cast<std::size_t>(positions * 17) * 16);
          for (auto _ : s) {
            table.winograd_weights_f32({weights.data(), 16, tile, out.data(), 17 * 16});
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (9 + positions) * 16 * 64);
        });
}

// One row of 24 tiles of one block of outputs with residual; bytes in and out.
void bench_winograd_output_f32(const KernelTable& table) {
  for (const int tile : {4, 6})
    benchmark::RegisterBenchmark(
        name(table, "winograd_output_f32", "F" + std::to_string(tile)).c_str(),
        [&table, tile](benchmark::State& s) {
          const int positions = (tile + 2) * (tile + 2), width = 24 * tile;
          const std::vector<float> in = ones(static_cast<std::size_t>(positions * 25) * 16), bias = ones(16);
          std::vector<float> out = ones(static_cast<std::size_t>(tile * width) * 16);
          WinogradOutputArgs a{};
          a.in = in.data(), a.position_stride = 25 * 16, a.tile = tile;
          a.bias = bias.data(), a.slope = 1.0f;
          a.residual = a.out = out.data(), a.residual_stride = a.out_stride = width * 16;
          a.rows = tile, a.width = width;
          for (auto _ : s) {
            table.winograd_output_f32(a);
            benchmark::ClobberMemory();
          }
          s.SetBytesProcessed(s.iterations() * (positions * 24 + 2 * tile * width) * 64);
        });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const KernelTable* table : runnable_tables()) {
#define MICROTOME_KERNEL(op, Args) bench_##op(*table);
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL
  }
  benchmark::AddCustomContext("FMA peak, GMAC/s, one core",
                              std::to_string(microtome_bench::fma_peak_gmacs()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
