// The per-channel affine that every norm of the supported networks is at inference.
#pragma once
#include <cmath>
#include <vector>

namespace microtome {

/// y = scale[c] * x + shift[c]. Empty vectors mean the identity.
struct Affine {
  std::vector<float> scale, shift;
  bool identity() const { return scale.empty(); }
};

/// Batch norm, or GaNDLF's instance norm (built with track_running_stats, so its eval mode uses the running
/// statistics too): y = (x - mean) / sqrt(var + eps) * weight + bias, eps = 1e-5.
/// Source: torch.nn.BatchNorm2d, GaNDLF.models.modules.
inline Affine affine_of_norm(const std::vector<float>& weight, const std::vector<float>& bias,
                             const std::vector<float>& mean, const std::vector<float>& var) {
  Affine a;
  a.scale.resize(weight.size());
  a.shift.resize(weight.size());
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double scale = static_cast<double>(weight[c]) / std::sqrt(static_cast<double>(var[c]) + 1e-5);
    a.scale[c] = static_cast<float>(scale);
    a.shift[c] = static_cast<float>(static_cast<double>(bias[c]) - static_cast<double>(mean[c]) * scale);
  }
  return a;
}

/// Channels [begin, begin + count) of `a`.
inline Affine slice(const Affine& a, int begin, int count) {
  if (a.identity()) return a;
  return {{a.scale.begin() + begin, a.scale.begin() + begin + count},
          {a.shift.begin() + begin, a.shift.begin() + begin + count}};
}

}  // namespace microtome
