// A look inside a running network: every number that a convolution reads and writes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../core/tensor.hpp"
#include "source.hpp"

namespace microtome {

/// Is shown each row of each layer exactly once per inference, from the thread that runs the session. Layers
/// are counted as in Model::layers(). A row is n pixels of 16 channels, of which those from `first_channel`
/// on, `channels` of them, exist; `first_channel` counts through the sources of a concat.
class Observer {
 public:
  virtual ~Observer() = default;
  /// What a convolution multiplies, behind norm, activation and enlargement.
  virtual void input(std::size_t layer, int first_channel, int channels, const float* row,
                     std::int64_t n) = 0;
  /// What it wrote, residual included. Not of the last layer, whose result never exists as a tensor.
  virtual void output(std::size_t layer, int first_channel, int channels, const float* row,
                      std::int64_t n) = 0;
};

/// Shows the input rows that stand under output rows [begin, end) of a convolution with this stride.
template <int Rank>
void observe_input(Observer& observer, const KernelTable& k, std::size_t layer,
                   const std::vector<const RowSource<float, Rank>*>& sources, int stride, std::int64_t begin,
                   std::int64_t end) {
  int first_channel = 0;
  std::vector<float> row;
  for (const RowSource<float, Rank>* source : sources) {
    Index<Rank> from{}, to = source->size();
    from[0] = begin * stride, to[0] = end * stride;
    const std::int64_t n = to[Rank - 1];
    row.resize(static_cast<std::size_t>(n) * kChannelBlock);
    for_each_row<Rank>(from, to, [&](const Index<Rank>& at) {
      for (int b = 0; b < channel_blocks(source->channels()); ++b) {
        const int c = b * kChannelBlock;
        source->row(k, b, at, static_cast<int>(n), row.data());
        observer.input(layer, first_channel + c, std::min(kChannelBlock, source->channels() - c), row.data(),
                       n);
      }
    });
    first_channel += source->channels();
  }
}

/// Shows rows [begin, end) of a result.
template <int Rank>
void observe_output(Observer& observer, std::size_t layer, const Tensor<float, Rank>& t, std::int64_t begin,
                    std::int64_t end) {
  Index<Rank> from{}, to = t.size;
  from[0] = begin, to[0] = end;
  for_each_row<Rank>(from, to, [&](const Index<Rank>& at) {
    for (int b = 0; b < channel_blocks(t.channels); ++b) {
      const int c = b * kChannelBlock;
      observer.output(layer, c, std::min(kChannelBlock, t.channels - c), t.pixel(b, at), t.size[Rank - 1]);
    }
  });
}

}  // namespace microtome
