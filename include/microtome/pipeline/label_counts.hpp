// What a comparison of masks is made of: pixels per label that were predicted, that are true, that are both.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace microtome {

/// One class against all others. Ratios of no pixels are NaN.
struct ClassScore {
  std::uint64_t true_positive = 0, false_positive = 0, false_negative = 0;  ///< pixels

  bool present() const { return true_positive + false_positive + false_negative > 0; }
  double dice() const {
    return ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative);
  }
  double iou() const { return ratio(true_positive, true_positive + false_positive + false_negative); }
  double precision() const { return ratio(true_positive, true_positive + false_positive); }
  double recall() const { return ratio(true_positive, true_positive + false_negative); }

  ClassScore& operator+=(const ClassScore& o) {
    true_positive += o.true_positive;
    false_positive += o.false_positive;
    false_negative += o.false_negative;
    return *this;
  }

 private:
  static double ratio(std::uint64_t a, std::uint64_t b) {
    return b ? static_cast<double>(a) / static_cast<double>(b) : std::numeric_limits<double>::quiet_NaN();
  }
};

/// Calls f(predicted, truth, pixels) for every run of equal pairs: masks are long runs.
template <class F>
void for_each_run(const std::uint8_t* predicted, const std::uint8_t* truth, std::size_t n, F&& f) {
  for (std::size_t i = 0; i < n;) {
    const std::uint8_t p = predicted[i], t = truth[i];
    std::size_t j = i + 1;
    while (j < n && predicted[j] == p && truth[j] == t) ++j;
    f(p, t, j - i);
    i = j;
  }
}

/// The scores of one image or one part of a slide. Thousands are in memory together, so each holds only the
/// labels that occur in it: 0.5 to 7 KB, where a confusion matrix would take 512.
class LabelCounts {
 public:
  void add(int predicted, int truth, std::uint64_t pixels) {
    const std::size_t p = entry(predicted), t = entry(truth);
    entries_[p].predicted += pixels;
    entries_[t].truth += pixels;
    if (predicted == truth) entries_[p].common += pixels;
    if (predicted == 1 && truth == 255) one_255_ += pixels;
    if (predicted == 255 && truth == 1) x255_one_ += pixels;
  }

  ClassScore score(int label) const {
    ClassScore s;
    const std::uint16_t i = index_[static_cast<std::size_t>(label)];
    if (i == 0) return s;
    const Entry& e = entries_[i - 1u];
    s.true_positive = e.common;
    s.false_positive = e.predicted - e.common;
    s.false_negative = e.truth - e.common;
    return s;
  }
  std::uint64_t total() const {  ///< pixels
    std::uint64_t n = 0;
    for (const Entry& e : entries_) n += e.truth;
    return n;
  }

 private:
  friend void fold_binary(std::vector<LabelCounts>& parts);
  struct Entry {
    std::uint64_t predicted = 0, truth = 0, common = 0;
  };

  std::size_t entry(int label) {
    std::uint16_t& i = index_[static_cast<std::size_t>(label)];
    if (i == 0) {
      entries_.emplace_back();
      i = static_cast<std::uint16_t>(entries_.size());
    }
    return i - 1u;
  }

  // Label 255 becomes 1 in the predictions, the truth or both.
  void fold(bool predicted, bool truth) {
    if (index_[255] == 0 || !(predicted || truth)) return;
    Entry& one = entries_[entry(1)];
    Entry& x255 = entries_[entry(255)];
    if (truth) one.common += one_255_;
    if (predicted) one.common += x255_one_;
    if (predicted && truth) one.common += x255.common;
    if (predicted) {
      one.predicted += x255.predicted;
      x255.predicted = 0;
    }
    if (truth) {
      one.truth += x255.truth;
      x255.truth = 0;
    }
    x255.common = one_255_ = x255_one_ = 0;
  }

  std::array<std::uint16_t, 256> index_{};  // label -> entry + 1, 0: none
  std::vector<Entry> entries_;
  std::uint64_t one_255_ = 0, x255_one_ = 0;  // pixels predicted 1 that are 255, and the reverse
};

/// Image editors save binary masks as 0 and 255: where the predictions hold no other label, 255 becomes 1 in
/// all of them; likewise in the truth. All parts decide together, so that a part without foreground does not
/// matter. Call it once, after everything was counted.
inline void fold_binary(std::vector<LabelCounts>& parts) {
  bool predicted = true, truth = true;
  for (const LabelCounts& part : parts)
    for (std::size_t l = 1; l < 255; ++l) {
      if (part.index_[l] == 0) continue;
      const LabelCounts::Entry& e = part.entries_[part.index_[l] - 1u];
      predicted = predicted && e.predicted == 0;
      truth = truth && e.truth == 0;
    }
  for (LabelCounts& part : parts) part.fold(predicted, truth);
}

}  // namespace microtome
