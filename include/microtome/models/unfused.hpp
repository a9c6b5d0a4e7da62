// The passes over memory that the engine avoids, for EngineOptions that switch a fusion off. No part of the
// product: it measures what fusing is worth (microtome bench --ablate) and proves that fusing changes
// nothing.
//
// Every pass loops in parallel over rows, with the kernels of the product where there is one.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "../core/arena.hpp"
#include "engine_options.hpp"
#include "net_conv.hpp"

namespace microtome {

// ---- passes

/// Calls f(at) in parallel for the rows [rows.begin, rows.end) of axis 0 of `t`.
template <int Rank, class F>
void for_rows(const RunContext& ctx, const Tensor<float, Rank>& t, const Rows& rows, F&& f) {
  parallel_for(*ctx.executor, static_cast<int>(rows.end - rows.begin), [&](int task, int) {
    Index<Rank> begin{}, end = t.size;
    begin[0] = rows.begin + task;
    end[0] = begin[0] + 1;
    for_each_row<Rank>(begin, end, f);
  });
}

template <int Rank>
void copy_rows(const RunContext& ctx, const RowSource<float, Rank>& from, const Tensor<float, Rank>& to,
               const Rows& rows) {
  for_rows(ctx, to, rows, [&](const Index<Rank>& at) {
    for (int b = 0; b < channel_blocks(from.channels()); ++b)
      from.row(*ctx.kernels, b, at, static_cast<int>(to.size[Rank - 1]), to.pixel(b, at));
  });
}

template <int Rank>
void add_rows(const RunContext& ctx, const Tensor<float, Rank>& from, const Tensor<float, Rank>& to,
              const Rows& rows) {
  const std::int64_t floats = to.size[Rank - 1] * kChannelBlock;
  for_rows(ctx, to, rows, [&](const Index<Rank>& at) {
    for (int b = 0; b < channel_blocks(to.channels); ++b) {
      const float* f = from.pixel(b, at);
      float* t = to.pixel(b, at);
      for (std::int64_t i = 0; i < floats; ++i) t[i] += f[i];
    }
  });
}

// ---- planar tensors: [channel][held rows...][width] in the memory of a blocked one, which is never smaller

template <int Rank>
float* planar_row(const Tensor<float, Rank>& t, int channel, const Index<Rank>& at) {
  std::int64_t i = channel * t.held + at[0] - t.origin;
  for (int d = 1; d < Rank - 1; ++d) i = i * t.size[d] + at[d];
  return t.data + i * t.size[Rank - 1];
}

/// Tensor::roll() of a planar tensor.
template <int Rank>
void roll_planar(Tensor<float, Rank>& t, std::int64_t row) {
  if (row == t.origin) return;
  const std::int64_t kept = t.origin + t.held - row;
  Index<Rank> from{}, to{}, end{};
  from[0] = row, to[0] = t.origin, end[0] = t.origin + kept;
  for (int c = 0; c < t.channels && kept > 0; ++c)
    std::memmove(planar_row(t, c, to), planar_row(t, c, from),
                 static_cast<std::size_t>(planar_row(t, c, end) - planar_row(t, c, to)) * sizeof(float));
  t.origin = row;
}

/// Blocked rows to planar ones, 16 pixels of 16 channels at a time.
template <int Rank>
void to_planar(const RunContext& ctx, const Tensor<float, Rank>& from, const Tensor<float, Rank>& to,
               const Rows& rows) {
  const std::int64_t width = to.size[Rank - 1];
  for_rows(ctx, to, rows, [&](const Index<Rank>& at) {
    for (int b = 0; b < channel_blocks(to.channels); ++b) {
      const int first = b * kChannelBlock, n = std::min(kChannelBlock, to.channels - first);
      const float* in = from.pixel(b, at);
      for (std::int64_t x = 0; x < width; x += kChannelBlock) {
        const std::int64_t pixels = std::min<std::int64_t>(kChannelBlock, width - x);
        for (int c = 0; c < n; ++c) {
          float* out = planar_row(to, first + c, at) + x;
          for (std::int64_t i = 0; i < pixels; ++i) out[i] = in[(x + i) * kChannelBlock + c];
        }
      }
    }
  });
}

/// Planar rows to blocked ones; unused lanes become zero.
template <int Rank>
void from_planar(const RunContext& ctx, const Tensor<float, Rank>& from, const Tensor<float, Rank>& to,
                 const Rows& rows) {
  const std::int64_t width = to.size[Rank - 1];
  for_rows(ctx, to, rows, [&](const Index<Rank>& at) {
    for (int b = 0; b < channel_blocks(to.channels); ++b) {
      const int first = b * kChannelBlock, n = std::min(kChannelBlock, to.channels - first);
      float* out = to.pixel(b, at);
      if (n < kChannelBlock)
        std::memset(out, 0, static_cast<std::size_t>(width * kChannelBlock) * sizeof(float));
      for (std::int64_t x = 0; x < width; x += kChannelBlock) {
        const std::int64_t pixels = std::min<std::int64_t>(kChannelBlock, width - x);
        for (int c = 0; c < n; ++c) {
          const float* in = planar_row(from, first + c, at) + x;
          for (std::int64_t i = 0; i < pixels; ++i) out[(x + i) * kChannelBlock + c] = in[i];
        }
      }
    }
  });
}

// ---- one convolution with its passes

/// Takes what must not be fused out of a convolution: the norm behind it and the activation with slope
/// `slope` leave `after` and `slope` and become passes.
inline std::vector<Prologue> split_epilogue(const EngineOptions& o, Affine& after, float& slope, int out) {
  std::vector<Prologue> passes;
  const bool norm = !o.fold_norms && !after.identity();
  if (norm) passes.emplace_back(after, o.fused_activation ? slope : kNoActivation, out);
  if (!o.fused_activation && slope != kNoActivation) passes.emplace_back(Affine(), slope, out);
  if (norm) after = {};
  if (!passes.empty()) slope = kNoActivation;
  return passes;
}

/// Where the tensors of a convolution's passes live in the arena: windows of as many rows as one call needs.
template <int Rank>
struct PassPlan {
  using T = Tensor<float, Rank>;
  struct Window {
    T tensor;
    int id = -1;             ///< in the ArenaPlan
    std::size_t offset = 0;  ///< bytes in the arena

    /// The window that starts at row `origin`.
    T at(const AlignedBuffer& arena, std::int64_t origin) const {
      T t = tensor;
      t.data = arena.as<float>(offset);
      t.origin = origin;
      return t;
    }
  };
  Window blocked[2], concat, copies[2];  ///< what it reads: converted, concatenated, through its prologue
  Window result, sum;                    ///< what it writes: before conversion, before the residual is added

  /// For a convolution with outputs of `size`, `rows` of them per call, at work from step `first` to `last`.
  PassPlan(const EngineOptions& o, const NetConv<Rank>& c, const Index<Rank>& size, std::int64_t rows,
           int first, int last, bool reads_image, bool is_head, ArenaPlan& arena) {
    const auto place = [&](Window& w, int channels, Index<Rank> whole, std::int64_t held) {
      w.tensor = T::whole(nullptr, channels, whole);
      whole[0] = w.tensor.held = std::min(whole[0], held);
      w.id = arena.add(T::elements(channels, whole) * sizeof(float), first, last);
    };
    const std::vector<int>& in = c.conv.shape().in;
    const int stride = c.conv.shape().stride;
    Index<Rank> input = size;
    for (auto& s : input) s *= stride;
    const std::int64_t held = rows * stride + 2;
    for (std::size_t i = 0; i < in.size() && !reads_image; ++i) {
      const bool enlarged = c.enlarges && i == 0;
      Index<Rank> stored = input;
      if (enlarged)
        for (auto& s : stored) s /= 2;
      if (!o.blocked_layout) place(blocked[i], in[i], stored, enlarged ? held / 2 + 3 : held);
      const bool in_concat = !o.zero_copy_concat && in.size() > 1;
      if (!o.fused_prologue && (!c.prologues[i].identity() || (enlarged && !in_concat)))
        place(copies[i], in[i], input, held);
    }
    if (!o.zero_copy_concat && in.size() > 1)
      place(concat, channel_blocks(in[0]) * kChannelBlock + in[1], input, held);
    if (is_head) return;
    if (!o.blocked_layout) place(result, c.conv.out_channels(), size, rows);
    if (!o.fused_residual && c.adds) place(sum, c.conv.out_channels(), size, rows);
  }

  void bind(const ArenaPlan& arena) {
    for (Window* w : {&blocked[0], &blocked[1], &concat, &copies[0], &copies[1], &result, &sum})
      if (w->id >= 0) w->offset = arena.offset(w->id);
  }
};

/// Hands the sources of a convolution's `rows` to f: what the product does while loading, done before.
template <int Rank, class F>
void read_unfused(const RunContext& ctx, const EngineOptions& o, const PassPlan<Rank>& p,
                  const AlignedBuffer& arena, const NetConv<Rank>& c, const Tensor<float, Rank>& in,
                  const Tensor<float, Rank>* skip, const Rows& rows, F&& f) {
  using T = Tensor<float, Rank>;
  const std::size_t n = skip ? 2 : 1;
  T stored[2] = {in, skip ? *skip : in};
  const Rows needed = c.input_rows(rows, in.size[0] * (c.enlarges ? 2 : 1));
  if (!o.blocked_layout)
    for (std::size_t i = 0; i < n; ++i) {
      Rows r = needed;
      if (c.enlarges && i == 0)  // enlarged row y lies between rows (y - 1) / 2 and y / 2 + 1
        r = {std::max<std::int64_t>(0, r.begin / 2 - 1), std::min(in.size[0], (r.end - 1) / 2 + 2), 0};
      const T blocked = p.blocked[i].at(arena, r.begin);
      from_planar(ctx, stored[i], blocked, r);
      stored[i] = blocked;
    }

  std::optional<UpsampledSource<Rank>> enlarged;
  std::optional<TensorSource<Rank>> plain[2];
  Sources<float, Rank> sources;
  for (std::size_t i = 0; i < n; ++i)
    if (c.enlarges && i == 0)
      sources.push_back(&enlarged.emplace(stored[i], c.prologues[i].slope));
    else
      sources.push_back(&plain[i].emplace(stored[i], &c.prologues[i]));

  if (!o.zero_copy_concat && skip) {
    // The halves of one tensor; the second one keeps its prologue.
    const T whole = p.concat.at(arena, needed.begin);
    T halves[2] = {whole, whole};
    halves[0].channels = c.conv.shape().in[0];
    halves[1].channels = c.conv.shape().in[1];
    Index<Rank> first{};
    first[0] = whole.origin;
    halves[1].data = whole.pixel(channel_blocks(halves[0].channels), first);
    copy_rows(ctx, *sources[0], halves[0], needed);
    copy_rows(ctx, TensorSource<Rank>(stored[1], nullptr), halves[1], needed);
    sources[0] = &plain[0].emplace(halves[0], nullptr);
    sources[1] = &plain[1].emplace(halves[1], &c.prologues[1]);
  }

  std::optional<TensorSource<Rank>> copied[2];
  for (std::size_t i = 0; i < n; ++i)
    if (p.copies[i].id >= 0) {
      const T copy = p.copies[i].at(arena, needed.begin);
      copy_rows(ctx, *sources[i], copy, needed);
      sources[i] = &copied[i].emplace(copy, nullptr);
    }
  f(static_cast<const Sources<float, Rank>&>(sources));
}

/// Convolves `rows`: what the product does while storing, done behind.
template <int Rank>
void write_unfused(const RunContext& ctx, const EngineOptions& o, const PassPlan<Rank>& p,
                   const AlignedBuffer& arena, const NetConv<Rank>& c, const Sources<float, Rank>& sources,
                   const Tensor<float, Rank>& to, const Rows& rows) {
  using T = Tensor<float, Rank>;
  if (rows.begin >= rows.end) return;
  const T target = o.blocked_layout ? to : p.result.at(arena, rows.begin);
  if (!o.blocked_layout && c.adds) from_planar(ctx, to, target, rows);
  const bool adds_later = c.adds && !o.fused_residual;
  const T result = adds_later ? p.sum.at(arena, rows.begin) : target;
  c.conv.run(ctx, sources, result, c.adds && !adds_later ? &result : nullptr, rows);
  for (const Prologue& pass : c.passes) copy_rows(ctx, TensorSource<Rank>(result, &pass), result, rows);
  if (adds_later) add_rows(ctx, result, target, rows);
  if (!o.blocked_layout) to_planar(ctx, target, to, rows);
}

}  // namespace microtome
