#include "microtome/pipeline/evaluate_images.hpp"

#include <doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "fakes.hpp"

using namespace microtome;
using microtome_test::FakeSlide;

namespace {

using Bytes = std::vector<std::uint8_t>;

// The last class has probability red / 255, all others share the rest: what a pixel is depends on it alone.
PatchNetwork red_network(int classes, FinalLayer final_layer, double mpp = 0.0) {
  PatchNetwork n = microtome_test::fake_network(classes, final_layer, 64, 32, mpp);
  n.info.class_names[0] = classes > 1 ? "background" : "nucleus";
  n.open = [classes](Executor*) -> PatchFn {
    return
        [classes](const std::uint8_t* rgb, std::size_t stride, std::int64_t w, std::int64_t h, float* out) {
          for (std::int64_t y = 0; y < h; ++y)
            for (std::int64_t x = 0; x < w; ++x)
              for (int c = 0; c < classes; ++c) {
                const float red =
                    static_cast<float>(
                        rgb[static_cast<std::size_t>(y) * stride + static_cast<std::size_t>(x) * 3]) /
                    255.0f;
                out[(c * h + y) * w + x] =
                    c + 1 == classes ? red : (1.0f - red) / static_cast<float>(classes - 1);
              }
        };
  };
  return n;
}

// A grey PNG, and an RGB one whose red is given.
void write_mask(const std::string& path, std::int64_t w, const Bytes& labels) {
  const auto h = static_cast<std::int64_t>(labels.size()) / w;
  PngWriter png(path, w, h, 1);
  png.write_rows(labels.data(), h, static_cast<std::size_t>(w));
  png.finish();
}
void write_image(const std::string& path, std::int64_t w, const Bytes& red) {
  const auto h = static_cast<std::int64_t>(red.size()) / w;
  Bytes rgb;
  for (const std::uint8_t r : red) rgb.insert(rgb.end(), {r, 10, 20});
  PngWriter png(path, w, h, 3);
  png.write_rows(rgb.data(), h, static_cast<std::size_t>(w) * 3);
  png.finish();
}

Bytes labels_of(const LabelMemory& m) {
  return Bytes(m.row(0), m.row(0) + m.width() * m.height());
}

template <class E, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("figures of a tiny image, computed by hand") {
  const microtome_test::TempDir dir;
  // Predicted:  1 1 0 0      True:  1 0 1 0
  //             1 0 0 1             1 0 0 0
  //             0 0 1 0             0 1 1 0
  write_image(dir / "a.png", 4, {200, 128, 127, 0, 255, 3, 90, 140, 9, 127, 180, 50});
  write_mask(dir / "a_true.png", 4, {255, 0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 0});
  DefaultExecutor executor(2);
  ImagePredictor predictor(red_network(2, FinalLayer::softmax), executor);
  std::vector<ImageScore> scores = {evaluate_image({"a", dir / "a.png", dir / "a_true.png"}, predictor)};
  finish_scores(scores);
  const ClassScore s = pooled_score(scores, 1);
  CHECK(s.true_positive == 3);
  CHECK(s.false_positive == 2);
  CHECK(s.false_negative == 2);
  CHECK(s.dice() == doctest::Approx(0.6));
  CHECK(s.iou() == doctest::Approx(3.0 / 7.0));
  CHECK(pooled_score(scores, 0).true_positive == 5);
  CHECK_FALSE(pooled_score(scores, 255).present());
  CHECK(scores[0].mask_pixels == 12);
  CHECK(scores[0].whole);
}

TEST_CASE("pooled figures weigh images by their pixels; a mask without foreground decides nothing") {
  const microtome_test::TempDir dir;
  DefaultExecutor executor(1);
  ImagePredictor predictor(red_network(1, FinalLayer::sigmoid), executor);
  write_image(dir / "empty.png", 5, Bytes(10, 0));
  write_mask(dir / "empty_true.png", 5, Bytes(10, 0));
  write_image(dir / "full.png", 20, Bytes(400, 255));
  write_mask(dir / "full_true.png", 20, Bytes(400, 255));
  Bytes half(100, 0);
  std::fill(half.begin(), half.begin() + 50, std::uint8_t{255});
  write_image(dir / "half.png", 10, Bytes(100, 255));
  write_mask(dir / "half_true.png", 10, half);
  std::vector<ImageScore> scores;
  for (const std::string name : {"empty", "full", "half"})
    scores.push_back(evaluate_image({name, dir / (name + ".png"), dir / (name + "_true.png")}, predictor));
  finish_scores(scores);
  CHECK(pooled_score(scores, 1).dice() == doctest::Approx(2 * 450.0 / (500 + 450)));
  const std::vector<ClassScore> each = class_scores(scores, 1);
  CHECK(std::isnan(each[0].dice()));
  CHECK(each[1].dice() == 1.0);
  CHECK(each[2].dice() == doctest::Approx(2.0 / 3.0));
}

TEST_CASE("255 is a label of its own when another mask of the set holds more than two") {
  const microtome_test::TempDir dir;
  DefaultExecutor executor(1);
  ImagePredictor predictor(red_network(2, FinalLayer::softmax), executor);
  write_image(dir / "i.png", 4, Bytes(16, 255));
  write_mask(dir / "two.png", 4, Bytes(16, 255));
  Bytes three(16, 255);
  three[0] = 2;
  write_mask(dir / "three.png", 4, three);
  std::vector<ImageScore> scores;
  for (const std::string mask : {"two", "three"})
    scores.push_back(evaluate_image({"i", dir / "i.png", dir / (mask + ".png")}, predictor));
  finish_scores(scores);
  CHECK(pooled_score(scores, 1).true_positive == 0);
  CHECK(pooled_score(scores, 255).false_negative == 31);
  CHECK(pooled_score(scores, 2).false_negative == 1);
}

TEST_CASE("the margin is a reflection, repeated where the image is smaller") {
  using Size = std::pair<std::int64_t, std::int64_t>;
  for (const Size& size : {Size{16, 32}, {13, 17}, {20, 5}, {3, 2}, {1, 1}, {2, 40}}) {
    const std::int64_t w = size.first, h = size.second;
    CAPTURE(w);
    CAPTURE(h);
    const std::int64_t pw = (w + 15) / 16 * 16, ph = (h + 15) / 16 * 16;
    const auto stride = static_cast<std::size_t>(pw) * 3;
    Bytes rgb(stride * static_cast<std::size_t>(ph), 0);
    const auto at = [&](std::int64_t x, std::int64_t y) -> std::uint8_t* {
      return rgb.data() + static_cast<std::size_t>(y) * stride + 3 * static_cast<std::size_t>(x);
    };
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t x = 0; x < w; ++x) {
        at(x, y)[0] = static_cast<std::uint8_t>(x);
        at(x, y)[1] = static_cast<std::uint8_t>(y);
        at(x, y)[2] = 99;
      }
    pad_by_reflection(rgb.data(), stride, w, h, pw, ph);
    // Walk to and fro instead of computing where the walk is.
    bool good = true;
    std::int64_t step_y = 1;
    for (std::int64_t y = 0, from_y = 0; y < ph; ++y) {
      std::int64_t step_x = 1;
      for (std::int64_t x = 0, from_x = 0; x < pw; ++x) {
        good = good && at(x, y)[0] == from_x && at(x, y)[1] == from_y && at(x, y)[2] == 99;
        if (from_x + step_x < 0 || from_x + step_x >= w) step_x = -step_x;
        if (w > 1) from_x += step_x;
      }
      if (from_y + step_y < 0 || from_y + step_y >= h) step_y = -step_y;
      if (h > 1) from_y += step_y;
    }
    CHECK(good);
  }
}

TEST_CASE("patch by patch or in one pass: the same mask, at any scale") {
  // Wide stripes of red, so that resampling leaves no pixel near the threshold but at edges.
  const auto color = [](int level, std::int64_t x, std::int64_t y) {
    const std::int64_t scale = level == 0 ? 1 : 4;
    return FakeSlide::Rgb{static_cast<std::uint8_t>(((x * scale) / 40 + (y * scale) / 56) % 2 ? 250 : 5), 90,
                          120};
  };
  DefaultExecutor executor(3);
  for (const double model_mpp : {0.0, 0.125, 0.25, 0.4, 0.5, 1.0}) {
    CAPTURE(model_mpp);
    const FakeSlide slide({{401, 303}, {101, 76}}, 0.25, color);
    const PatchNetwork network = red_network(2, FinalLayer::softmax, model_mpp);
    PredictOptions by_patch;
    by_patch.whole_pixels = 255;
    ImagePredictor whole(network, executor), patches(network, executor, by_patch);
    const Prediction a = whole.run(slide), b = patches.run(slide);
    CHECK(a.whole);
    CHECK_FALSE(b.whole);
    const std::int64_t d = a.plane.mask_downsample;
    CHECK(d == (model_mpp == 1.0 ? 4 : model_mpp == 0.5 ? 2 : 1));
    CHECK(a.mask.width() == (401 + d - 1) / d);
    CHECK(a.mask.height() == (303 + d - 1) / d);
    CHECK(labels_of(a.mask) == labels_of(b.mask));
    // Where nothing is resampled the mask is known.
    if (model_mpp != 0.0 && model_mpp != 0.25) continue;
    bool right = true;
    for (std::int64_t y = 0; y < 303; ++y)
      for (std::int64_t x = 0; x < 401; ++x)
        right = right && a.mask.row(y)[x] == (color(0, x, y).r > 127 ? 1 : 0);
    CHECK(right);
  }
}

TEST_CASE("size alone decides between one pass and patches") {
  DefaultExecutor executor(2);
  PredictOptions options;
  CHECK(options.whole_pixels == 1536 * 1536);
  options.whole_pixels = 96 * 64;
  PatchNetwork network = red_network(2, FinalLayer::softmax);
  const auto whole = [&](std::int64_t w, std::int64_t h) {
    const FakeSlide slide({{w, h}}, 0.0, microtome_test::tissue_color);
    return ImagePredictor(network, executor, options).run(slide).whole;
  };
  CHECK(whole(90, 50));  // 96 x 64 when padded
  CHECK(whole(96, 64));
  CHECK(whole(16, 384));
  CHECK_FALSE(whole(97, 64));
  CHECK_FALSE(whole(90, 65));
  CHECK_FALSE(whole(17, 384));
  // A budget that is too small for one pass, but not for patches, changes nothing.
  options.max_memory = 96u << 20;
  network.run_bytes = [](std::int64_t w, std::int64_t h, int) { return std::size_t(w * h > 64 * 64) << 27; };
  CHECK(whole(90, 50));
  // What the machine cannot hold is refused instead of being run in another way.
  network.run_bytes = [](std::int64_t, std::int64_t, int) { return std::size_t{1} << 60; };
  CHECK(has(message_of<ResourceError>([&] { whole(90, 50); }), "more than half of the physical memory"));
  // Statistics of the whole image are not those of the patches the network was trained on.
  network.run_bytes = red_network(2, FinalLayer::softmax).run_bytes;
  network.info.normalization.kind = Normalization::Kind::zscore_tile;
  CHECK_FALSE(whole(90, 50));
}

TEST_CASE("every image is brought to the colours of the target, measured over all of it") {
  // Two stains in changing amounts; glass at the left.
  const auto color = [](int, std::int64_t x, std::int64_t y) {
    const double h = x < 20 ? 0.0 : 0.9 * static_cast<double>(x % 37) / 36.0,
                 e = x < 20 ? 0.0 : 0.1 + 0.8 * static_cast<double>((x + 3 * y) % 41) / 40.0;
    const auto light = [&](double a, double b) {
      return static_cast<std::uint8_t>(240.0 * std::exp(-h * a - e * b));
    };
    return FakeSlide::Rgb{light(0.65, 0.27), light(0.70, 0.57), light(0.29, 0.78)};
  };
  constexpr std::int64_t w = 150, h = 90;
  const FakeSlide slide({{w, h}}, 0.0, color);
  Bytes pixels;
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x) {
      const FakeSlide::Rgb c = color(0, x, y);
      pixels.insert(pixels.end(), {c.r, c.g, c.b});
    }
  DefaultExecutor executor(2);
  const PatchNetwork network = red_network(2, FinalLayer::softmax);
  for (const StainMethod method : {StainMethod::macenko, StainMethod::reinhard})
    for (const bool one_pass : {true, false}) {
      CAPTURE(name_of(method));
      CAPTURE(one_pass);
      PredictOptions options;
      if (!one_pass) options.whole_pixels = 0;
      const Prediction plain = ImagePredictor(network, executor, options).run(slide);
      CHECK(plain.stain.method == StainMethod::none);
      options.stain_target = reference_stain(method);
      const Prediction p = ImagePredictor(network, executor, options).run(slide);
      CHECK(p.whole == one_pass);
      const StainFit fit = fit_stain(method, pixels.data(), w * h);
      REQUIRE(fit.ok());
      CHECK(p.stain.method == method);
      CHECK(p.stain.first == fit.profile.first);
      CHECK(p.stain.second == fit.profile.second);
      Bytes changed = pixels;
      StainNormalizer(fit.profile, options.stain_target).apply(changed.data(), w * 3, w, h);
      Bytes expected;
      for (std::size_t i = 0; i < changed.size(); i += 3) expected.push_back(changed[i] > 127);
      CHECK(labels_of(p.mask) == expected);
      CHECK(labels_of(plain.mask) != expected);
    }
}

TEST_CASE("an image with a pixel size is compared at the model's scale") {
  // A tissue of stripes 64 pixels wide at 0.25 um/px; the model wants 0.5: half of the mask's pixels count.
  const FakeSlide slide({{640, 128}}, 0.25, [](int, std::int64_t x, std::int64_t) {
    return FakeSlide::Rgb{static_cast<std::uint8_t>(x / 64 % 2 ? 255 : 0), 0, 0};
  });
  DefaultExecutor executor(1);
  ImagePredictor predictor(red_network(2, FinalLayer::softmax, 0.5), executor);
  Prediction p = predictor.run(slide);
  CHECK(p.plane.mpp_x == doctest::Approx(0.5));
  LabelMemory truth("truth", 640, 128);
  for (std::int64_t y = 0; y < 128; ++y)
    for (std::int64_t x = 0; x < 640; ++x) truth.row(y)[x] = x / 64 % 2 == 1;
  const Confusion c = count_masks(p.mask, truth, p.plane.mask_downsample);
  CHECK(c.total() == 320 * 64);
  CHECK(c.at(0, 1) + c.at(1, 0) == 0);
}

TEST_CASE("thresholds") {
  const FakeSlide slide({{256, 1}}, 0.0, [](int, std::int64_t x, std::int64_t) {
    return FakeSlide::Rgb{static_cast<std::uint8_t>(x), 0, 0};
  });
  DefaultExecutor executor(1);
  const auto count = [&](PatchNetwork network, int label) {
    ImagePredictor predictor(std::move(network), executor);
    const Bytes labels = labels_of(predictor.run(slide).mask);
    return std::count(labels.begin(), labels.end(), label);
  };
  // p = x / 255: p >= T for x from ceil(255 T) on.
  CHECK(count(red_network(2, FinalLayer::softmax), 1) == 128);
  using Case = std::pair<double, int>;
  for (const Case& c : {Case{0.1, 230}, {0.5, 128}, {0.9, 26}, {1.0, 1}, {0.0, 256}}) {
    const double t = c.first;
    CAPTURE(t);
    CHECK(count(with_threshold(red_network(2, FinalLayer::softmax), t), 1) == c.second);
    CHECK(count(with_threshold(red_network(1, FinalLayer::sigmoid), t), 1) == c.second);
  }
  PatchNetwork unnamed = red_network(2, FinalLayer::softmax);
  unnamed.info.class_names[0] = "stroma";  // labels are class + 1
  CHECK(count(with_threshold(unnamed, 0.9), 2) == 26);
  CHECK(count(with_threshold(unnamed, 0.9), 1) == 230);
  CHECK_THROWS_AS(with_threshold(red_network(3, FinalLayer::softmax), 0.5), UsageError);
  for (const double bad : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(with_threshold(red_network(2, FinalLayer::softmax), bad), UsageError);
}

TEST_CASE("images and masks are matched by stem") {
  const microtome_test::TempDir dir;
  for (const std::string folder : {"/i", "/m", "/m/b.png.d", "/empty"})
    os::make_directories(dir.path() + folder);
  const auto touch = [&](const std::string& name) { std::ofstream(dir / name) << "x"; };
  for (const std::string name :
       {"i/b.JPG", "i/a.b.png", "i/.hidden.png", "i/notes.txt", "m/a.b.tif", "m/b.png", "m/x.csv"})
    touch(name);
  const std::vector<ImagePair> pairs = match_images(dir / "i", dir / "m/");
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].name == "a.b");
  CHECK(pairs[0].mask == dir / "m/a.b.tif");
  CHECK(pairs[1].image == dir / "i/b.JPG");
  CHECK(match_images(dir / "i/b.JPG", dir / "m").size() == 1);
  CHECK(match_images(dir / "i", dir / "m/b.png").size() == 1);
  CHECK(match_images(dir / "i/b.JPG", dir / "m/a.b.tif").size() == 1);

  const auto refused = [&](const std::string& images, const std::string& masks) {
    return message_of<InputError>([&] { match_images(dir / images, dir / masks); });
  };
  touch("i/c.png");
  CHECK(has(refused("i", "m"), "no mask of the same name for c.png"));
  touch("m/c.png");
  touch("m/d.tif");
  CHECK(has(refused("i", "m"), "no image of the same name for the mask d.tif"));
  touch("i/d.png");
  touch("i/d.tif");
  CHECK(has(refused("i", "m"), "'d.png' and 'd.tif'"));
  CHECK(has(refused("empty", "m"), "no file of a known kind: .png"));
  CHECK(has(refused("missing", "m"), "no such file"));
  for (int i = 0; i < 30; ++i) touch("empty/many" + std::to_string(i) + ".png");
  CHECK(has(refused("empty", "m"), "and 20 more"));
}

TEST_CASE("what cannot be compared is refused before it is run") {
  const microtome_test::TempDir dir;
  write_image(dir / "i.png", 6, Bytes(30, 9));
  write_mask(dir / "m.png", 5, Bytes(30, 0));
  DefaultExecutor executor(1);
  PatchNetwork network = red_network(2, FinalLayer::softmax);
  network.open = [](Executor*) -> PatchFn { throw ResourceError("", "", "was run"); };
  ImagePredictor predictor(network, executor);
  const std::string message = message_of<InputError>([&] {
    evaluate_image({"i", dir / "i.png", dir / "m.png"}, predictor);
  });
  CHECK(has(message, dir / "m.png"));
  CHECK(has(message, "5 x 6 pixels"));
  CHECK(has(message, dir / "i.png has 6 x 5 pixels"));

  PredictOptions small;
  small.max_memory = 1 << 20;
  ImagePredictor tight(red_network(2, FinalLayer::softmax), executor, small);
  const FakeSlide huge({{200000, 100000}}, 0.0, microtome_test::tissue_color);
  CHECK(has(message_of<InputError>([&] { tight.run(huge); }), "200000 x 100000"));
  network.info.input_channels = 1;
  CHECK_THROWS_AS(ImagePredictor(network, executor), InputError);
  network.info.input_channels = 3;
  network.info.final_layer = FinalLayer::none;
  CHECK_THROWS_AS(ImagePredictor(network, executor), InputError);
}

TEST_CASE("an answer that is not a number is an error") {
  PatchNetwork network = red_network(2, FinalLayer::softmax);
  network.open = [](Executor*) -> PatchFn {
    return [](const std::uint8_t*, std::size_t, std::int64_t w, std::int64_t h, float* out) {
      std::fill(out, out + 2 * w * h, 0.5f);
      out[w * h + 1] = std::numeric_limits<float>::quiet_NaN();
    };
  };
  DefaultExecutor executor(1);
  const FakeSlide slide({{30, 30}}, 0.0, microtome_test::tissue_color);
  CHECK(has(message_of<InputError>([&] { ImagePredictor(network, executor).run(slide); }), "not a number"));
}

TEST_CASE("blocks of a large mask add up to the whole") {
  LabelMemory p("p", 700, 501), t("t", 700, 501), fine("f", 2098, 1502);
  for (std::int64_t y = 0; y < 501; ++y)
    for (std::int64_t x = 0; x < 700; ++x) {
      p.row(y)[x] = static_cast<std::uint8_t>((x / 9 + y / 5) % 3);
      t.row(y)[x] = static_cast<std::uint8_t>((x / 8 + y / 7) % 4);
    }
  for (std::int64_t y = 0; y < 1502; ++y)
    for (std::int64_t x = 0; x < 2098; ++x) fine.row(y)[x] = t.row(y / 3)[x / 3];
  BlockCounts blocks(128), blocks_of_fine(128);
  const Confusion c = count_masks(p, t, 1, &blocks), f = count_masks(p, fine, 3, &blocks_of_fine);
  REQUIRE(blocks.parts().size() == 6 * 4);
  for (int l = 0; l < 4; ++l) {
    for (std::int64_t by = 0; by < 4; ++by)
      for (std::int64_t bx = 0; bx < 6; ++bx) {
        ClassScore plain;
        for (std::int64_t y = by * 128; y < std::min<std::int64_t>(501, by * 128 + 128); ++y)
          for (std::int64_t x = bx * 128; x < std::min<std::int64_t>(700, bx * 128 + 128); ++x) {
            plain.true_positive += p.row(y)[x] == l && t.row(y)[x] == l;
            plain.false_positive += p.row(y)[x] == l && t.row(y)[x] != l;
            plain.false_negative += p.row(y)[x] != l && t.row(y)[x] == l;
          }
        const auto at = static_cast<std::size_t>(by * 6 + bx);
        for (const ClassScore& s : {blocks.parts()[at].score(l), blocks_of_fine.parts()[at].score(l)}) {
          CHECK(s.true_positive == plain.true_positive);
          CHECK(s.false_positive == plain.false_positive);
          CHECK(s.false_negative == plain.false_negative);
        }
      }
    CHECK(score(c, l).true_positive == score(f, l).true_positive);
  }
  BlockCounts many(1);
  many.reset(1000, 1000);
  CHECK(many.side() == 8);  // 125 x 125 blocks are no more than 16384, 250 x 250 are
}
