#include "microtome/pipeline/bootstrap.hpp"

#include <doctest.h>

#include <cmath>
#include <vector>

#include "microtome/pipeline/evaluate.hpp"

using namespace microtome;

namespace {

ClassScore score_of(std::uint64_t tp, std::uint64_t fp, std::uint64_t fn) {
  ClassScore s;
  s.true_positive = tp;
  s.false_positive = fp;
  s.false_negative = fn;
  return s;
}

// Images of equal size whose Dice is spread between 0.5 and 1.
std::vector<ClassScore> spread(std::uint64_t n) {
  std::vector<ClassScore> parts;
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t hit = 500 + 500 * i / (n - 1);
    parts.push_back(score_of(hit, 1000 - hit, 1000 - hit));
  }
  return parts;
}

}  // namespace

TEST_CASE("the generator gives the published numbers") {
  SplitMix64 random(1234567);
  for (const std::uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                       4593380528125082431u, 16408922859458223821u})
    CHECK(random.next() == expected);
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen[random.below(7)];
  for (const int n : seen) CHECK(std::abs(n - 1000) < 150);  // 5 standard deviations
}

TEST_CASE("quantiles interpolate between neighbours") {
  CHECK(quantile({1, 2, 3, 4}, 0.5) == doctest::Approx(2.5));
  CHECK(quantile({1, 2, 3, 4, 5}, 0.25) == doctest::Approx(2.0));
  CHECK(quantile({10, 20}, 0.025) == doctest::Approx(10.25));
  CHECK(quantile({7}, 0.975) == 7.0);
  CHECK(quantile({1, 9}, 1.0) == 9.0);
  CHECK(std::isnan(quantile({}, 0.5)));
}

TEST_CASE("a single image gives its own Dice twice") {
  const ClassScore s = score_of(30, 10, 20);
  const Interval i = bootstrap_dice({s});
  CHECK(i.low == s.dice());
  CHECK(i.high == s.dice());
}

TEST_CASE("intervals repeat, enclose the pooled Dice and shrink with the number of images") {
  const auto width = [](const Interval& i) { return i.high - i.low; };
  for (const std::uint64_t n : {5u, 40u, 640u}) {
    CAPTURE(n);
    const std::vector<ClassScore> parts = spread(n);
    const Interval a = bootstrap_dice(parts), b = bootstrap_dice(parts),
                   other = bootstrap_dice(parts, 2000, 2);
    CHECK(a.low == b.low);
    CHECK(a.high == b.high);
    CHECK(a.low != other.low);
    CHECK(other.low == doctest::Approx(a.low).epsilon(0.03));
    CHECK(a.low < 0.75);
    CHECK(a.high > 0.75);
    CHECK(a.low >= 0.5);
    CHECK(a.high <= 1.0);
    // Dice is here the mean of n even numbers: the interval is +- 1.96 s / sqrt(n), s = 0.5 / sqrt(12).
    if (n >= 40)
      CHECK(width(a) ==
            doctest::Approx(2 * 1.96 * 0.5 / std::sqrt(12.0 * static_cast<double>(n))).epsilon(0.1));
  }
}

TEST_CASE("large images weigh more") {
  std::vector<ClassScore> parts(20, score_of(1, 1, 1));
  for (int i = 0; i < 20; ++i) parts.push_back(score_of(900, 50, 50));
  CHECK(bootstrap_dice(parts).low > 0.94);
}

TEST_CASE("what does not occur has no interval") {
  CHECK(std::isnan(bootstrap_dice({}).low));
  CHECK(std::isnan(bootstrap_dice({ClassScore(), ClassScore()}).high));
  // One of three images holds the class: draws without it are left out, all others have its Dice.
  const Interval i = bootstrap_dice({ClassScore(), score_of(3, 1, 1), ClassScore()});
  CHECK(i.low == doctest::Approx(0.75));
  CHECK(i.high == doctest::Approx(0.75));
}

TEST_CASE("label counts agree with the confusion matrix, before and after folding") {
  // Which labels occur in the predictions and in the truth.
  const std::vector<std::pair<std::vector<int>, std::vector<int>>> cases = {
      {{0, 1}, {0, 255}},    {{0, 255}, {0, 1}},      {{0, 255}, {0, 255}},       {{0, 1, 255}, {0, 1, 255}},
      {{0, 1, 2}, {0, 255}}, {{0, 255}, {0, 3, 255}}, {{0, 7, 255}, {0, 9, 255}}, {{0}, {255}}};
  SplitMix64 random(5);
  int number = 0;
  for (const auto& [predicted, truth] : cases) {
    CAPTURE(number);
    ++number;
    Confusion all;
    std::vector<LabelCounts> parts(3);
    for (int i = 0; i < 200; ++i) {
      const int p = predicted[random.below(predicted.size())], t = truth[random.below(truth.size())];
      const std::uint64_t n = 1 + random.below(50);
      all.add(p, t, n);
      parts[random.below(3)].add(p, t, n);
    }
    const auto same = [&] {
      bool equal = true;
      for (int l = 0; l < 256; ++l) {
        ClassScore sum;
        for (const LabelCounts& part : parts) sum += part.score(l);
        const ClassScore s = score(all, l);
        equal = equal && sum.true_positive == s.true_positive && sum.false_positive == s.false_positive &&
                sum.false_negative == s.false_negative;
      }
      return equal;
    };
    CHECK(same());
    CHECK(parts[0].total() + parts[1].total() + parts[2].total() == all.total());
    all.fold_binary();
    fold_binary(parts);
    CHECK(same());
  }
}
