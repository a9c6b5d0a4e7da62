// From summed probabilities to label ids: which class a mask pixel belongs to, and what the ids mean.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../io/model_info.hpp"

namespace microtome {

/// Probabilities are summed in 8.24 fixed point. Integer sums do not depend on the order of their terms, so
/// the mask is byte-identical for any number of threads, traversal and memory budget; a float's 24-bit
/// mantissa fits without loss for p >= 0.5, and 255 overlaps cannot overflow.
constexpr std::uint32_t kProbabilityOne = 1u << 24;

/// p in [0, 1] rounded to the nearest 2^-24. Values outside are clamped, NaN counts as 0.
inline std::uint32_t fixed_probability(float p) {
  const float scaled = (p > 0.0f ? (p < 1.0f ? p : 1.0f) : 0.0f) * static_cast<float>(kProbabilityOne);
  const auto whole = static_cast<std::int32_t>(scaled);
  return static_cast<std::uint32_t>(whole + (scaled - static_cast<float>(whole) >= 0.5f ? 1 : 0));
}

/// How label ids come out of class probabilities.
/// - softmax: the class with the largest mean, the lowest of equals.
/// - sigmoid: every class with mean p >= its threshold, later classes overwrite earlier ones (GaNDLF's rule
///   for its class list).
/// Label 0 is the background: pixels that no patch covered, or of no class. When class 0 of the model is the
/// background too, labels are class indices; otherwise (a single channel, say) they are class index + 1.
class LabelRule {
 public:
  /// Throws InputError when the final layer does not give probabilities or the class count is out of range.
  LabelRule(FinalLayer final_layer, int classes, const std::vector<double>& thresholds,
            const std::string& model_path, bool first_is_background = true)
      : softmax_(final_layer == FinalLayer::softmax),
        classes_(classes),
        shift_(classes == 1 || !first_is_background ? 1 : 0) {
    if (final_layer == FinalLayer::none)
      throw InputError(model_path, "final_layer",
                       "is 'none': segmentation needs probabilities (sigmoid or softmax)");
    if (classes < 1 || labels() > 255)
      throw InputError(
          model_path, "classes",
          "1 to " + std::to_string(255 - shift_) + " expected, " + std::to_string(classes) + " found");
    if (softmax_ && classes < 2) throw InputError(model_path, "final_layer", "softmax over a single class");
    for (int c = 0; c < classes; ++c) {
      const double t =
          static_cast<std::size_t>(c) < thresholds.size() ? thresholds[static_cast<std::size_t>(c)] : 0.5;
      thresholds_.push_back(t * kProbabilityOne);
    }
  }

  int classes() const { return classes_; }
  int labels() const { return classes_ + shift_; }

  /// Labels of n pixels: sums[c * n + i] is class c at pixel i, counts[i] the patches that covered it.
  void apply(const std::uint32_t* sums, const std::uint8_t* counts, std::size_t n, std::uint8_t* out) const {
    for (std::size_t i = 0; i < n; ++i) {
      out[i] = 0;
      if (counts[i] == 0) continue;
      int label = softmax_ ? shift_ : 0;
      if (softmax_) {
        std::uint32_t best = sums[i];
        for (int c = 1; c < classes_; ++c) {
          const std::uint32_t s = sums[static_cast<std::size_t>(c) * n + i];
          if (s > best) {
            best = s;
            label = c + shift_;
          }
        }
      } else {
        for (int c = 0; c < classes_; ++c)
          if (sums[static_cast<std::size_t>(c) * n + i] >=
              thresholds_[static_cast<std::size_t>(c)] * counts[i])
            label = c + shift_;
      }
      out[i] = static_cast<std::uint8_t>(label);
    }
  }

 private:
  bool softmax_;
  int classes_, shift_;
  std::vector<double> thresholds_;  // times kProbabilityOne
};

/// A label id of a mask, for people.
struct Label {
  std::string name;
  std::array<std::uint8_t, 3> color{};  ///< RGB; of label 0: the mask's background
};

/// Names and colours of the labels 0 .. LabelRule::labels() - 1; label 0 and classes without a colour are
/// black.
inline std::vector<Label> make_labels(const ModelInfo& model) {
  const int shift = model.first_is_background() ? 0 : 1;
  std::vector<Label> labels(static_cast<std::size_t>(model.classes + shift));
  labels[0].name = "background";
  for (int c = 0; c < model.classes; ++c) {
    const auto k = static_cast<std::size_t>(c);
    Label& l = labels[k + static_cast<std::size_t>(shift)];
    if (k < model.class_names.size()) l.name = model.class_names[k];
    if (k >= model.class_colors.size() || model.class_colors[k].size() != 7) continue;
    const auto rgb = static_cast<std::uint32_t>(std::strtoul(model.class_colors[k].c_str() + 1, nullptr, 16));
    l.color = {static_cast<std::uint8_t>(rgb >> 16), static_cast<std::uint8_t>(rgb >> 8),
               static_cast<std::uint8_t>(rgb)};
  }
  return labels;
}

}  // namespace microtome
