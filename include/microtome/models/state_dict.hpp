// The tensors of a GaNDLF unet in a safetensors file, read by name.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../io/model_info.hpp"
#include "../io/safetensors.hpp"
#include "../layers/conv.hpp"
#include "unet_layers.hpp"

namespace microtome {

/// k^Rank.
template <int Rank>
std::size_t kernel_volume(int k) {
  return static_cast<std::size_t>(Rank == 3 ? k * k * k : k * k);
}

/// Reverses the axes of `count` kernels of k^Rank values.
template <int Rank, class T>
void reverse_axes(T* kernels, std::size_t count, int k) {
  static_assert(Rank == 2 || Rank == 3, "axis reversal of a square or cubic kernel");
  if (k == 1) return;
  constexpr bool cube = Rank == 3;
  for (std::size_t n = 0; n < count; ++n, kernels += kernel_volume<Rank>(k))
    for (int y = 0; y < k; ++y)
      for (int x = 0; x < y; ++x)
        for (int z = 0; z < (cube ? k : 1); ++z) {
          const auto i = [&](int first, int last) {
            return cube ? (first * k + z) * k + last : first * k + last;
          };
          std::swap(kernels[i(y, x)], kernels[i(x, y)]);
        }
}

/// Reads tensors by name and counts their elements.
template <int Rank>
struct StateDict {
  const SafeTensors& file;
  bool transposed;
  std::int64_t* parameters;

  std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape) const {
    std::vector<float> v = file.floats(name, shape);
    *parameters += static_cast<std::int64_t>(v.size());
    return v;
  }
  Affine norm(const std::string& n, int channels) const {
    const std::vector<std::int64_t> c = {channels};
    const std::vector<float> weight = file.floats(n + ".weight", c), bias = file.floats(n + ".bias", c),
                             mean = file.floats(n + ".running_mean", c),
                             var = file.floats(n + ".running_var", c);
    for (const float v : var)
      if (v < 0) throw InputError(file.path(), n + ".running_var", "holds a negative variance");
    return affine_of_norm(weight, bias, mean, var);
  }
  /// The affine of a part of a norm; the identity where there is none.
  Affine norm(const NormPart& p) const {
    return p.none() ? Affine() : slice(norm(p.name, p.channels), p.first, p.count);
  }
  /// Rows of a convolution's weight tensor, in the orientation of the images that will be fed.
  WeightRows kernel(const std::string& n, int out, int in, int k) const {
    std::vector<std::int64_t> shape = {out, in};
    for (int d = 0; d < Rank; ++d) shape.push_back(k);
    const TensorEntry& t = file.float_entry(n, shape);
    *parameters += t.elements();
    const std::size_t row = static_cast<std::size_t>(t.elements()) / static_cast<std::size_t>(out);
    return [this, n, &t, row, k](int o, float* to) {
      file.read(n, t, static_cast<std::size_t>(o) * row, row, to);
      // A network trained on transposed images equals the same network with transposed kernels.
      if (transposed) reverse_axes<Rank>(to, row / kernel_volume<Rank>(k), k);
    };
  }
};

/// The shape of a tensor that has to have `rank` dimensions. Throws InputError.
inline const std::vector<std::int64_t>& shape_of(const SafeTensors& file, const char* name,
                                                 std::size_t rank) {
  const TensorEntry& t = file.entry(name);
  if (t.shape.size() != rank)
    throw InputError(
        file.path(), name,
        "has shape " + shape_text(t.shape) + ", " + std::to_string(rank) + " dimensions expected");
  return t.shape;
}

/// Channels, classes and base filters, from the shapes of the first and the last kernel. Throws InputError.
template <int Rank>
void read_unet_channels(const SafeTensors& file, ModelInfo& info) {
  const auto bounded = [&](const char* name, std::int64_t v, std::int64_t high) {
    if (v < 1 || v > high)
      throw InputError(file.path(), name,
                       std::to_string(v) + " channels, 1 to " + std::to_string(high) + " supported");
    return static_cast<int>(v);
  };
  const std::vector<std::int64_t>& first = shape_of(file, "ins.conv0.weight", Rank + 2);
  info.base_filters = bounded("ins.conv0.weight", first[0], 256);
  info.input_channels = bounded("ins.conv0.weight", first[1], kChannelBlock);
  info.classes = bounded("out.conv0.weight", shape_of(file, "out.conv0.weight", Rank + 2)[0], 256);
  info.weight_type = file.entry("ins.conv0.weight").dtype;
  info.parameters = 0;
}

/// Everything the tensor shapes tell: channels, classes, base filters, topology.
/// Throws InputError.
template <int Rank>
void read_unet_shape(const SafeTensors& file, ModelInfo& info) {
  read_unet_channels<Rank>(file, info);
  const std::int64_t norm = shape_of(file, "ds_0.in_0.weight", 1)[0];
  info.norm_before_down = norm == info.base_filters;
  if (!info.norm_before_down && norm != 2 * info.base_filters)
    throw InputError(file.path(), "ds_0.in_0.weight",
                     "has " + std::to_string(norm) + " channels, " + std::to_string(info.base_filters) +
                         " or " + std::to_string(2 * info.base_filters) + " expected");
  for (const auto& [name, t] : file.tensors())
    if (name.size() > 5 && name.find(".in_") != std::string::npos &&
        (name.rfind(".weight") == name.size() - 7 || name.rfind(".bias") == name.size() - 5))
      info.parameters += t.elements();
}

}  // namespace microtome
