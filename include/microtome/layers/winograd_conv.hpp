// 3x3 stride-1 convolution by Winograd's F(4x4) or F(6x6), fused like the direct one: sources are read
// through padded strips, bias, LeakyReLU and residual are part of the output transform.
//
//   strip of one channel block -> V[position][block][tile][16]        winograd_input_f32, _i16
//   per position: M[position][out block][tile][16] = V U              winograd_product_f32, _i16
//   M -> rows of the output                                           winograd_output_f32, _i32
// Positions are the outer loop of the product: V of one position stays in L1 while all outputs are computed.
// Kernels and mathematics: kernels/winograd.hpp, in integers: kernels/winograd_int.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "float_arithmetic.hpp"
#include "strip.hpp"

namespace microtome {

/// One Winograd convolution; weights belong to the layer that owns it. `Arithmetic`: FloatArithmetic or
/// IntArithmetic. What becomes of the sums is up to whoever runs it.
template <class Arithmetic>
struct WinogradConv {
  using Value = typename Arithmetic::Value;
  using Transformed = typename Arithmetic::Transformed;
  using Sum = typename Arithmetic::Sum;
  using LateWeight = typename Arithmetic::LateWeight;

  int tile = 4;                      ///< output pixels per side of a tile: 4 or 6
  const int* block_depth = nullptr;  ///< [blocks]: channels (floats) or pairs of them (integers) in use
  int blocks = 0, depth = 0;         ///< input blocks; sum of block_depth
  int out_channels = 0;
  const Transformed* transformed = nullptr;  ///< U[position][out block][depth][line], or null:
  const LateWeight* weights = nullptr;       ///< [out block][in block][3][3][depth][line], transformed on the
                                             ///< fly

  int positions() const { return (tile + 2) * (tile + 2); }

  /// Bytes of scratch per worker, and of memory that all workers share, for bands of `size`.
  std::size_t scratch_bytes(const Index<2>& size, int workers) const {
    if (!transformed) return shared_plan(size, workers).scratch();
    const Block block = local_plan(size, workers);
    return strip_bytes(block) + slot_bytes(block);
  }
  std::size_t shared_bytes(const Index<2>& size) const {
    return transformed ? 0 : shared_plan(size, 1).shared();
  }

  /// Rows [range.begin, range.end) of an output of `size`. tail(block, at) says what becomes of the sums of
  /// the rows from pixel `at` on; rows lie as in a tensor.
  template <class TailOf>
  void run(const RunContext& ctx, const Sources<Value, 2>& sources, const Index<2>& size, const Rows& range,
           TailOf&& tail) const {
    if (transformed)
      run_local(ctx, sources, size, range, tail);
    else
      run_shared(ctx, sources, size, range, tail);
  }

 private:
  static constexpr std::ptrdiff_t kLineBytes = 64;
  static constexpr std::ptrdiff_t kWeightLine = Arithmetic::kWeightLine;

  // A block of rows x columns tiles: its strip (one channel block), V and M. All sizes in elements.
  struct Block {
    const WinogradConv* conv;
    std::int64_t rows, columns;  // tiles

    std::int64_t tiles() const { return rows * columns; }
    std::int64_t strip_row() const { return (columns * conv->tile + 2) | 1; }  // pixels, odd: see Tensor
    std::size_t strip() const {
      return static_cast<std::size_t>((rows * conv->tile + 2) * strip_row()) * kChannelBlock;
    }
    // Odd numbers of pixels between blocks and positions: at a power-of-two distance all of them would fall
    // into the same few L1 sets.
    std::ptrdiff_t channel_block() const { return (tiles() | 1) * kChannelBlock; }
    std::ptrdiff_t position(int channel_blocks) const {
      return ((channel_blocks * (tiles() | 1)) | 1) * kChannelBlock;
    }
    std::size_t v() const { return static_cast<std::size_t>(conv->positions() * position(conv->blocks)); }
  };

  std::int64_t tiles_along(std::int64_t pixels) const { return (pixels + tile - 1) / tile; }

  // ---- layers that keep their transformed weights: each task has a block of tiles of its own

  // V and M share memory: M of a position takes the place of V of the position before it, which has been
  // multiplied. So each position has room for the larger of both, and there is one more of them.
  std::ptrdiff_t slot(const Block& b) const {  // bytes
    const std::ptrdiff_t v = b.position(blocks) * static_cast<std::ptrdiff_t>(sizeof(Transformed)),
                         m = b.position(channel_blocks(out_channels)) *
                             static_cast<std::ptrdiff_t>(sizeof(Sum));
    return ((std::max(v, m) + kLineBytes - 1) / kLineBytes | 1) * kLineBytes;
  }
  std::size_t slot_bytes(const Block& b) const {
    return static_cast<std::size_t>((positions() + 1) * slot(b));
  }
  static std::size_t strip_bytes(const Block& b) {
    return (b.strip() * sizeof(Value) + kLineBytes - 1) / kLineBytes * kLineBytes;
  }

  // The block whose V and M stay in L2 and that wastes least on borders, half-filled register tiles of the
  // matrix product and idle workers. A pure function of shape and worker count; results do not depend on it.
  Block local_plan(const Index<2>& size, int workers) const {
    constexpr double kCache = 512 * 1024;
    const std::int64_t high = tiles_along(size[0]), wide = tiles_along(size[1]);
    Block best{this, 1, 1};
    double best_cost = 0;
    for (std::int64_t rows = 1; rows <= std::min<std::int64_t>(high, 8); ++rows)
      for (std::int64_t columns = 1; columns <= std::min<std::int64_t>(wide, 24); ++columns) {
        const Block b{this, rows, columns};
        const double tiles = static_cast<double>(b.tiles());
        const double tasks = static_cast<double>((high + rows - 1) / rows) *
                             static_cast<double>((wide + columns - 1) / columns);
        const double turns = static_cast<double>((static_cast<std::int64_t>(tasks) + workers - 1) / workers);
        const double strip = static_cast<double>(b.strip()) / (tiles * tile * tile * kChannelBlock);
        const double registers = static_cast<double>((b.tiles() + 5) / 6 * 6) / tiles;
        const double excess = static_cast<double>(slot_bytes(b)) / kCache;
        double cost = turns * workers * tiles * (registers + 0.15 * strip + 2.0 / tiles);
        if (excess > 1) cost *= excess;
        if (best_cost == 0 || cost < best_cost) best = b, best_cost = cost;
      }
    return best;
  }

  template <class TailOf>
  void run_local(const RunContext& ctx, const Sources<Value, 2>& sources, const Index<2>& size,
                 const Rows& range, TailOf&& tail) const {
    const Block block = local_plan({range.band, size[1]}, ctx.executor->workers());
    const std::ptrdiff_t bytes = slot(block),
                         v_position = bytes / static_cast<std::ptrdiff_t>(sizeof(Transformed)),
                         m_position = bytes / static_cast<std::ptrdiff_t>(sizeof(Sum));
    const std::int64_t high = tiles_along(range.end - range.begin), wide = tiles_along(size[1]);
    const std::int64_t across = (wide + block.columns - 1) / block.columns;
    const std::int64_t tasks = (high + block.rows - 1) / block.rows * across;
    parallel_for(*ctx.executor, static_cast<int>(tasks), [&](int task, int worker) {
      const AlignedBuffer& scratch = (*ctx.scratch)[static_cast<std::size_t>(worker)];
      Value* strip = scratch.as<Value>();
      Sum* m = scratch.as<Sum>(strip_bytes(block));
      Transformed* v = scratch.as<Transformed>(strip_bytes(block) + static_cast<std::size_t>(bytes));
      const Index<2> first = {task / across * block.rows, task % across * block.columns};
      const std::int64_t rows = std::min(block.rows, high - first[0]),
                         columns = std::min(block.columns, wide - first[1]);
      for_each_block(sources, [&](const RowSource<Value, 2>& source, int source_block, int b) {
        input(*ctx.kernels, range, source, source_block, {range.begin + first[0] * tile, first[1] * tile},
              rows, columns, block.strip_row(), strip, v + b * block.channel_block(), v_position);
      });
      const int outputs = channel_blocks(out_channels);
      const std::ptrdiff_t u_block = depth * kWeightLine;
      multiply(*ctx.kernels, v, block.channel_block(), v_position, rows * columns, transformed,
               outputs * u_block, u_block, outputs, m, block.channel_block(), m_position);
      for (int o = 0; o < outputs; ++o)
        for (std::int64_t r = 0; r < rows; ++r)
          output(*ctx.kernels, m + o * block.channel_block() + r * columns * kChannelBlock, m_position, o,
                 {range.begin + (first[0] + r) * tile, first[1] * tile}, columns, size, range, tail);
    });
  }

  // ---- layers with many channels: V of many tiles is shared; each task transforms the weights of one block
  // ---- of outputs and uses them for all tiles. U as a whole, 4 or 7 times the weights, never exists

  struct SharedPlan {
    Block all;             // the tile rows of one chunk; V of all of them is shared memory
    Block input;           // what one input task transforms: rows of one channel block
    std::int64_t product;  // tiles multiplied at a time: M stays in L2
    int group;             // blocks of outputs per task
    std::size_t weights;   // U of one block of outputs, elements

    std::size_t shared() const { return all.v() * sizeof(Transformed); }  // bytes
    std::ptrdiff_t m_block() const { return (product | 1) * kChannelBlock; }
    std::ptrdiff_t m_position() const { return ((group * (product | 1)) | 1) * kChannelBlock; }
    std::size_t u_bytes() const { return static_cast<std::size_t>(group) * weights * sizeof(Transformed); }
    std::size_t scratch() const {  // bytes
      return std::max(
          input.strip() * sizeof(Value),
          u_bytes() + static_cast<std::size_t>(all.conv->positions() * m_position()) * sizeof(Sum));
    }
  };

  SharedPlan shared_plan(const Index<2>& size, int workers) const {
    constexpr std::size_t kSharedBytes = std::size_t{5} << 20;
    const std::int64_t high = tiles_along(size[0]), wide = tiles_along(size[1]);
    Block all{this, high, wide};
    for (std::int64_t chunks = 2; all.rows > 1 && all.v() * sizeof(Transformed) > kSharedBytes; ++chunks)
      all.rows = (high + chunks - 1) / chunks;
    SharedPlan p{all, all, 0, 1, 0};
    p.input.rows = std::min<std::int64_t>(4, all.rows);
    // Whole tile rows, about 64 tiles.
    p.product = wide * std::clamp<std::int64_t>(64 / wide, 1, all.rows);
    // V is read once per group; two groups per worker at least, so that none waits long at the end.
    p.group = channel_blocks(out_channels) >= 4 * workers ? 2 : 1;
    p.weights = static_cast<std::size_t>(positions() * weight_position());
    return p;
  }

  std::ptrdiff_t weight_position() const { return (depth | 1) * kWeightLine; }

  template <class TailOf>
  void run_shared(const RunContext& ctx, const Sources<Value, 2>& sources, const Index<2>& size,
                  const Rows& range, TailOf&& tail) const {
    const SharedPlan plan = shared_plan({range.band, size[1]}, ctx.executor->workers());
    const std::ptrdiff_t v_block = plan.all.channel_block(), v_position = plan.all.position(blocks);
    const std::int64_t high = tiles_along(range.end - range.begin), wide = tiles_along(size[1]);
    Transformed* v = ctx.shared->as<Transformed>();
    for (std::int64_t top = 0; top < high; top += plan.all.rows) {
      const std::int64_t rows = std::min(plan.all.rows, high - top);
      const std::int64_t parts = (rows + plan.input.rows - 1) / plan.input.rows;
      parallel_for(*ctx.executor, static_cast<int>(parts) * blocks, [&](int task, int worker) {
        Value* strip = (*ctx.scratch)[static_cast<std::size_t>(worker)].template as<Value>();
        const std::int64_t r = task / blocks * plan.input.rows;
        int source_block = task % blocks;
        std::size_t s = 0;
        while (source_block >= channel_blocks(sources[s]->channels()))
          source_block -= channel_blocks(sources[s++]->channels());
        input(*ctx.kernels, range, *sources[s], source_block, {range.begin + (top + r) * tile, 0},
              std::min(plan.input.rows, rows - r), wide, plan.input.strip_row(), strip,
              v + task % blocks * v_block + r * wide * kChannelBlock, v_position);
      });
      const int groups = (channel_blocks(out_channels) + plan.group - 1) / plan.group;
      // Fewer groups than workers: several workers transform the same weights, for some of the tile rows
      // each.
      const int shares =
          static_cast<int>(std::min<std::int64_t>((ctx.executor->workers() + groups - 1) / groups, rows));
      parallel_for(*ctx.executor, groups * shares, [&](int task, int worker) {
        const int first = task / shares * plan.group,
                  outputs = std::min(plan.group, channel_blocks(out_channels) - first);
        const std::int64_t begin = rows * (task % shares) / shares, end = rows * (task % shares + 1) / shares;
        const AlignedBuffer& scratch = (*ctx.scratch)[static_cast<std::size_t>(worker)];
        Transformed* u = scratch.as<Transformed>();
        Sum* m = scratch.as<Sum>(plan.u_bytes());
        for (int o = 0; o < outputs; ++o)
          transform_weights(*ctx.kernels, first + o, u + static_cast<std::size_t>(o) * plan.weights);
        for (std::int64_t r = begin; r < end; r += plan.product / wide) {
          const std::int64_t n = std::min(plan.product / wide, end - r);
          multiply(*ctx.kernels, v + r * wide * kChannelBlock, v_block, v_position, n * wide, u,
                   weight_position(), static_cast<std::ptrdiff_t>(plan.weights), outputs, m, plan.m_block(),
                   plan.m_position());
          for (int o = 0; o < outputs; ++o)
            for (std::int64_t i = 0; i < n; ++i)
              output(*ctx.kernels, m + o * plan.m_block() + i * wide * kChannelBlock, plan.m_position(),
                     first + o, {range.begin + (top + r + i) * tile, 0}, wide, size, range, tail);
        }
      });
    }
  }

  void transform_weights(const KernelTable& k, int o, Transformed* u) const {
    const LateWeight* w = weights + o * 9 * depth * kWeightLine;
    for (int b = 0; b < blocks; ++b) {
      Arithmetic::winograd_weights(k, w, block_depth[b], tile, u, weight_position());
      w += 9 * block_depth[b] * kWeightLine;
      u += block_depth[b] * kWeightLine;
    }
  }

  // ---- the three steps ----

  template <class F>
  static void for_each_block(const Sources<Value, 2>& sources, F&& f) {
    int b = 0;
    for (const RowSource<Value, 2>* source : sources)
      for (int s = 0; s < channel_blocks(source->channels()); ++s, ++b) f(*source, s, b);
  }

  // The rows x columns tiles of one channel block from output pixel `first` on, to `v`. Tiles that hang over
  // the end of the range see zeros there.
  void input(const KernelTable& k, const Rows& range, const RowSource<Value, 2>& source, int source_block,
             const Index<2>& first, std::int64_t rows, std::int64_t columns, std::int64_t strip_row,
             Value* strip, Transformed* v, std::ptrdiff_t v_position) const {
    const Index<2> from = {first[0] - 1, first[1] - 1};
    const Index<2> to = {from[0] + rows * tile + 2, from[1] + columns * tile + 2};
    fill_strip<Value, 2>(k, source, source_block, from, to, {rows * tile + 2, 0}, strip_row, range.end + 1,
                         strip);
    const std::ptrdiff_t row = strip_row * kChannelBlock;
    for (std::int64_t r = 0; r < rows; ++r)
      Arithmetic::winograd_input(k, strip + r * tile * row, row, tile, static_cast<int>(columns),
                                 v + r * columns * kChannelBlock, v_position);
  }

  // M[p] = V[p] U[p] for all positions and `outputs` blocks.
  void multiply(const KernelTable& k, const Transformed* v, std::ptrdiff_t v_block, std::ptrdiff_t v_position,
                std::int64_t tiles, const Transformed* u, std::ptrdiff_t u_position, std::ptrdiff_t u_block,
                int outputs, Sum* m, std::ptrdiff_t m_block, std::ptrdiff_t m_position) const {
    for (int p = 0; p < positions(); ++p)
      Arithmetic::winograd_product(
          k, {v + p * v_position, v_block, block_depth, blocks, static_cast<int>(tiles), u + p * u_position,
              u_block, outputs, m + p * m_position, m_block});
  }

  // One row of `columns` tiles, from output pixel `at` on.
  template <class TailOf>
  void output(const KernelTable& k, const Sum* m, std::ptrdiff_t m_position, int block, const Index<2>& at,
              std::int64_t columns, const Index<2>& size, const Rows& range, TailOf&& tail) const {
    Arithmetic::winograd_output(k, m, m_position, tile, tail(block, at),
                                Tensor<float, 2>::row_pixels(size[1]) * kChannelBlock,
                                static_cast<int>(std::min<std::int64_t>(tile, range.end - at[0])),
                                static_cast<int>(std::min(columns * tile, size[1] - at[1])));
  }
};

}  // namespace microtome
