// Which label a pixel gets from summed probabilities, and what the labels are called.
#include <doctest.h>
#include <microtome/pipeline/labels.hpp>

#include <vector>

using namespace microtome;

namespace {

// Labels of pixels whose class probabilities are the rows of `p`, each covered once; count 0 for an empty
// row.
std::vector<int> labels_of(const LabelRule& rule, const std::vector<std::vector<double>>& p) {
  std::vector<std::uint32_t> sums(p.size() * static_cast<std::size_t>(rule.classes()));
  std::vector<std::uint8_t> counts(p.size()), out(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    counts[i] = p[i].empty() ? 0 : 1;
    for (std::size_t c = 0; c < p[i].size(); ++c)
      sums[c * p.size() + i] = fixed_probability(static_cast<float>(p[i][c]));
  }
  rule.apply(sums.data(), counts.data(), p.size(), out.data());
  return std::vector<int>(out.begin(), out.end());
}

ModelInfo model(FinalLayer layer, const std::vector<std::string>& names,
                const std::vector<std::string>& colors) {
  ModelInfo m;
  m.final_layer = layer;
  m.classes = static_cast<int>(names.size());
  m.class_names = names;
  m.class_colors = colors;
  return m;
}

}  // namespace

TEST_CASE("softmax takes the largest class, the lowest of equals") {
  const LabelRule rule(FinalLayer::softmax, 3, {}, "m");
  CHECK(labels_of(rule, {{.2, .5, .3}, {.4, .2, .4}, {.1, .45, .45}, {}}) == std::vector<int>{1, 0, 1, 0});
}

TEST_CASE("softmax whose class 0 is not the background leaves label 0 to what was not run") {
  const LabelRule rule(FinalLayer::softmax, 2, {}, "m", false);
  CHECK(rule.labels() == 3);
  CHECK(labels_of(rule, {{.9, .1}, {.1, .9}, {}}) == std::vector<int>{1, 2, 0});
}

TEST_CASE("one sigmoid channel: label 1 from the threshold on") {
  const LabelRule rule(FinalLayer::sigmoid, 1, {0.5}, "m");
  CHECK(rule.labels() == 2);
  CHECK(labels_of(rule, {{.5}, {.4999}, {1.0}, {}}) == std::vector<int>{1, 0, 1, 0});
}

TEST_CASE(
    "several sigmoid channels: later classes overwrite; labels shift when class 0 is a class of its own") {
  const LabelRule background(FinalLayer::sigmoid, 3, {.5, .5, .75}, "m");
  CHECK(labels_of(background, {{.9, .6, .7}, {.9, .6, .8}, {.9, 0, 0}, {0, 0, 0}}) ==
        std::vector<int>{1, 2, 0, 0});
  const LabelRule tissue(FinalLayer::sigmoid, 3, {.5, .5, .75}, "m", false);
  CHECK(labels_of(tissue, {{.9, .6, .7}, {.9, .6, .8}, {.9, 0, 0}, {0, 0, 0}}) ==
        std::vector<int>{2, 3, 1, 0});
}

TEST_CASE("label 0 is always the background and never takes the colour of a class") {
  const auto plain = make_labels(model(FinalLayer::softmax, {"Background", "nucleus"}, {"", "#2bff3a"}));
  REQUIRE(plain.size() == 2);
  CHECK(plain[1].name == "nucleus");
  CHECK(plain[1].color == std::array<std::uint8_t, 3>{0x2b, 0xff, 0x3a});
  const auto shifted = make_labels(model(FinalLayer::sigmoid, {"tumour", "stroma"}, {"#ff0000", "#00ff00"}));
  REQUIRE(shifted.size() == 3);
  CHECK(shifted[0].name == "background");
  CHECK(shifted[0].color == std::array<std::uint8_t, 3>{0, 0, 0});
  CHECK(shifted[1].name == "tumour");
  CHECK(shifted[2].color == std::array<std::uint8_t, 3>{0, 255, 0});
}

TEST_CASE("what has no probabilities or too many classes is refused") {
  CHECK_THROWS_AS(LabelRule(FinalLayer::none, 2, {}, "m"), InputError);
  CHECK_THROWS_AS(LabelRule(FinalLayer::softmax, 1, {}, "m"), InputError);
  CHECK_THROWS_AS(LabelRule(FinalLayer::softmax, 256, {}, "m"), InputError);
  CHECK_THROWS_AS(LabelRule(FinalLayer::softmax, 255, {}, "m", false), InputError);
  CHECK_NOTHROW(LabelRule(FinalLayer::softmax, 255, {}, "m"));
}
