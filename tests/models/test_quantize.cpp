// Quantization: what is seen while calibrating, which ranges follow, the integers that stand for the weights,
// and the file. tests/models/compare_int8.py compares whole networks with NumPy.
#include <doctest.h>
#include <microtome/core/requantize.hpp>
#include <microtome/microtome.hpp>
#include <microtome/models/quantized_file.hpp>
#include <microtome/pipeline/calibrate.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hash_weights.hpp"
#include "test_data.hpp"

using namespace microtome;
using microtome_test::hash_unit;
using microtome_test::HashNet;
using microtome_test::NetShape;
using microtome_test::TempDir;

namespace {

constexpr std::int64_t kWidth = 48, kHeight = 80;

std::vector<std::uint8_t> hash_pixels() {
  std::vector<std::uint8_t> rgb(kWidth * kHeight * 3);
  for (std::size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<std::uint8_t>(hash_unit(1000, static_cast<std::uint32_t>(i)) * 256);
  return rgb;
}

/// A network in a file, and what it did with one image.
struct Seen {
  TempDir dir;
  std::shared_ptr<const Model> model;
  std::unique_ptr<Calibration> calibration;
  ModelFacts facts;

  explicit Seen(ModelFacts given = {{"architecture", "resunet"}}, bool norm_before_down = true,
                bool depth_first = true, int threads = 1)
      : facts(std::move(given)) {
    HashNet(NetShape{2, 4, 3, 2, norm_before_down}).file.write(dir / "m.safetensors");
    EngineOptions options;
    options.depth_first = depth_first;
    model = load_model(dir / "m.safetensors", facts, options);
    calibration = std::make_unique<Calibration>(model->network().convs().size());
    DefaultExecutor executor(threads);
    Session session(model, &executor);
    session.observe(calibration.get());
    session.run(hash_pixels().data(), kWidth, kHeight);
  }
  QuantizedNet quantized(const QuantizeOptions& options = {}) const {
    return quantize(model->info(), *calibration, options, facts);
  }
};

Histogram histogram(const std::vector<float>& values) {
  Histogram h(9);
  for (const float v : values) h.add(v);
  return h;
}

float largest(const Calibration& c, std::size_t layer) {
  float most = 0.0f;
  for (const float v : c.output_of(layer)) most = std::max(most, v);
  return most;
}

QuantizedConv small_conv() {
  QuantizedConv c;
  c.name = "c";
  c.weight_shape = {1, 2, 1, 1};
  c.weight = {127, -127};
  c.weight_scale = {0.5f};
  c.bias = {7};
  c.multiplier = {0.01f};
  c.sources.push_back({{3, 4}, {5, 6}, 0.1f});
  return c;
}

template <class T>
std::vector<T> values_of(const SafeTensors& file, const std::string& name) {
  const TensorEntry& t = file.entry(name);
  REQUIRE(t.bytes == static_cast<std::size_t>(t.elements()) * sizeof(T));
  std::vector<T> v(static_cast<std::size_t>(t.elements()));
  std::memcpy(v.data(), t.data, t.bytes);
  return v;
}

}  // namespace

TEST_CASE("every pixel of every layer is shown once, in bands and without, whatever the threads") {
  const Seen bands, whole({{"architecture", "resunet"}}, true, false),
      threads({{"architecture", "resunet"}}, true, true, 3);
  const std::vector<UnetLayer> layers = unet_layers(bands.model->info());
  REQUIRE(layers.size() == 32);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    INFO(layers[i].name);
    const int level = layers[i].level - (layers[i].stride == 2 ? 1 : 0);
    const auto& a = bands.calibration->input_of(i);
    CHECK(a.pixels == static_cast<std::uint64_t>((kWidth >> level) * (kHeight >> level)));
    REQUIRE(a.values.size() == static_cast<std::size_t>(layers[i].inputs()));
    CHECK(a.sums.size() == a.values.size());
    for (const Histogram& h : a.values) CHECK(h.total() == a.pixels);
    for (const Seen* other : {&whole, &threads}) {
      const auto& b = other->calibration->input_of(i);
      REQUIRE(b.values.size() == a.values.size());
      for (std::size_t c = 0; c < a.values.size(); ++c) {
        const auto near = [](float v) { return doctest::Approx(static_cast<double>(v)).epsilon(1e-4); };
        CHECK(a.values[c].total() == b.values[c].total());
        CHECK(a.values[c].max() == near(b.values[c].max()));
        CHECK(a.values[c].min() == near(b.values[c].min()));
      }
      CHECK(largest(*bands.calibration, i) ==
            doctest::Approx(static_cast<double>(largest(*other->calibration, i))).epsilon(1e-5));
    }
  }
  CHECK(largest(*bands.calibration, 30) > 0.0f);
  // The first input is the image itself.
  const auto& image = bands.calibration->input_of(0);
  for (const Histogram& h : image.values) {
    CHECK(h.min() == 0.0f);
    CHECK(h.max() <= 1.0f);
    CHECK(h.max() > 0.99f);
  }
  double mean = 0.0;
  for (const std::uint8_t v : hash_pixels()) mean += v / 255.0;
  CHECK((image.mean(0) + image.mean(1) + image.mean(2)) / 3.0 ==
        doctest::Approx(mean / static_cast<double>(hash_pixels().size())).epsilon(1e-5));
}

TEST_CASE("the histogram keeps values within a 1024th of their size") {
  const Histogram h = histogram({-3.0f, -1e-9f, 0.0f, 1.0f, 1.0f, 1.999f, 700.0f});
  const auto bins = h.bins();
  const double values[] = {-3.0, 0.0, 1.0, 1.999, 700.0};
  const std::uint64_t counts[] = {1, 2, 2, 1, 1};
  REQUIRE(bins.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(bins[i].count == counts[i]);
    CHECK(std::abs(bins[i].middle() - values[i]) <= std::abs(values[i]) / 1024.0);
  }
  CHECK(h.min() == -3.0f);
  CHECK(h.max() == 700.0f);
}

TEST_CASE("ranges: all, all but a share, or what costs least") {
  std::vector<float> values;
  for (int i = 0; i < 100000; ++i) values.push_back(static_cast<float>(std::exp(-i / 10000.0) * 4.0 - 0.1));
  values.push_back(100.0f);
  const Histogram h = histogram(values);
  const auto range = [&](RangeMethod m, double percentile = 99.9) { return choose_range(h, m, percentile); };
  CHECK(range(RangeMethod::minmax).high == 100.0);
  CHECK(range(RangeMethod::minmax).low == doctest::Approx(-0.1).epsilon(0.01));
  CHECK(range(RangeMethod::percentile).high ==
        doctest::Approx(3.86).epsilon(0.01));  // 100 of 100001 are above
  CHECK(range(RangeMethod::percentile, 100.0).high == 100.0);
  // One outlier of 100000 values is worth clipping: nothing else is above 3.9.
  for (const RangeMethod m : {RangeMethod::mse, RangeMethod::kl}) {
    INFO(to_string(m));
    CHECK(range(m).high >= 3.5);
    CHECK(range(m).high < 100.0);
    CHECK(range(m).low < 0.0);
  }
  CHECK(range(RangeMethod::kl).high < 50.0);
  // The least squared error is not beaten by either of the others.
  const auto cost = [&](const ValueRange& r) { return detail::squared_error(h.bins(), r); };
  CHECK(cost(range(RangeMethod::mse)) < cost(range(RangeMethod::minmax)));
  CHECK(cost(range(RangeMethod::mse)) < cost(range(RangeMethod::kl)));
  const ActScale s = ActScale::covering({-0.1, 25.4});
  CHECK(s.scale == doctest::Approx(0.1));
  CHECK(s.zero_point == 1);
  CHECK(s.nearest(3.04) == doctest::Approx(3.0));
  CHECK(s.nearest(1000.0) == doctest::Approx(25.4));
  CHECK(ActScale::covering({0.0, 0.0}).scale == 1.0f);
  CHECK_THROWS_AS(range_method("best"), UsageError);
}

TEST_CASE("weights: at most half a step off, zero point in the bias, coarser only where sums demand it") {
  const std::size_t taps = 18;
  RealConv real;
  for (std::uint32_t i = 0; i < 2 * taps; ++i) real.weight.push_back(hash_unit(3, i) - 0.4);
  real.weight[taps + 4] = 9.0;
  real.bias = {0.25, -3.0};
  QuantizedConv c;
  c.input_scale = 0.02f;
  c.input_zero_point = 11;
  c.output_scale = 0.05f;
  quantize_weights(real, largest_allowed_sum(3, 1, false), {}, c);
  for (std::size_t o = 0; o < 2; ++o) {
    const double step = static_cast<double>(c.weight_scale[o]);
    std::int64_t sum = 0, most = 0;
    for (std::size_t i = o * taps; i < (o + 1) * taps; ++i) {
      CHECK(std::abs(c.weight[i] * step - real.weight[i]) <= 0.5001 * step);
      sum += c.weight[i];
      most = std::max<std::int64_t>(most, std::abs(int{c.weight[i]}));
    }
    CHECK(most == 127);
    const double bias = static_cast<double>(c.bias[o] + 11 * sum) * 0.02 * step;
    CHECK(std::abs(bias - real.bias[o]) <= 0.501 * 0.02 * step);
    CHECK(static_cast<double>(c.multiplier[o]) == doctest::Approx(0.02 * step / 0.05));
  }

  // 1152 equal weights would reach 37.3 million; Winograd's sums end at 2^25.
  RealConv wide{std::vector<double>(1152, 0.5), {0.0}};
  quantize_weights(wide, largest_allowed_sum(3, 1, false), {}, c);
  CHECK(largest_sum(c.weight.data(), 1152, false) < (1 << 25));
  CHECK(largest_sum(c.weight.data(), 1152, false) > (1 << 25) * 0.97);
  CHECK(c.weight[0] * c.weight_scale[0] == doctest::Approx(0.5).epsilon(0.005));
  quantize_weights(wide, largest_allowed_sum(3, 2, false), {}, c);
  CHECK(c.weight[0] == 127);

  // Nothing at all, and a bias that dwarfs the weights.
  for (const RealConv& odd :
       {RealConv{std::vector<double>(18, 0.0), {0.0}}, RealConv{std::vector<double>(18, 0.0), {2.5}},
        RealConv{std::vector<double>(18, 1e-12), {1e3}}}) {
    QuantizedConv e = c;
    e.name = "odd";
    quantize_weights(odd, 1 << 25, {}, e);
    CHECK_NOTHROW(check_quantized(e, "f"));
    CHECK(e.bias[0] * static_cast<double>(e.weight_scale[0]) * 0.02 ==
          doctest::Approx(odd.bias[0]).epsilon(1e-4));
  }
}

TEST_CASE("bias correction takes the mean error of the weights off") {
  const RealConv real{{0.503, 1.0}, {0.0}};  // 0.503 is 63.9 steps of 1 / 127
  QuantizedConv c;
  c.input_scale = 0.001f;
  quantize_weights(real, 1 << 25, {}, c);
  CHECK(c.bias[0] == 0);
  quantize_weights(real, 1 << 25, {{2.0, 0.0}, {2.0, 0.0}}, c);
  const double error = 2.0 * (c.weight[0] * static_cast<double>(c.weight_scale[0]) - 0.503);
  CHECK(c.bias[0] * 0.001 * static_cast<double>(c.weight_scale[0]) == doctest::Approx(-error).epsilon(0.01));
  CHECK(c.bias[0] != 0);
}

TEST_CASE("a prologue in integers is the norm and the activation, rounded") {
  const Affine norm{{1.5f, -0.02f, 0.3f}, {0.1f, 4.0f, -2.0f}};
  const ActScale act = ActScale::covering({-0.2, 12.0});
  const double raw = 0.0007;
  const QuantizedSource s = quantize_source(norm, false, raw, static_cast<double>(act.scale));
  for (std::size_t c = 0; c < 3; ++c)
    for (int q = -32768; q <= 32767; q += 61) {
      const std::int32_t v = q * s.scale[c] + s.shift[c];
      const int got = to_act(v, s.multiplier, kLeakySlope * s.multiplier, act.zero_point);
      double real = static_cast<double>(norm.scale[c]) * raw * q + static_cast<double>(norm.shift[c]);
      if (real < 0.0) real *= static_cast<double>(kLeakySlope);
      CHECK(std::abs((got - act.zero_point) * static_cast<double>(act.scale) - act.nearest(real)) <=
            1.001 * static_cast<double>(act.scale));
    }
}

TEST_CASE("what a result is follows from who reads it") {
  for (const bool residual : {true, false}) {
    const ModelFacts facts = {{"architecture", residual ? "resunet" : "unet"}};
    const Seen seen(facts);
    const QuantizedNet net = seen.quantized();
    CHECK(net.metadata.at("topology") == "new");
    for (const QuantizedConv& c : net.convs) {
      INFO(c.name, " residual ", residual);
      const bool last_of_block =
          c.name == "ins.conv2" || c.name.find("en_") == 0 ? c.name.back() != '0' : c.name.find("conv2") < 20;
      QuantOutput expected = QuantOutput::act;
      if (c.name == "out.conv0")
        expected = QuantOutput::logits;
      else if (c.name.find("us_") == 0 || last_of_block)
        expected = QuantOutput::raw;
      else if (c.name.find("ds_") == 0)
        expected = residual ? QuantOutput::raw : QuantOutput::act;
      else if (c.name.back() == '0' && c.name.find("en_") != 0)
        expected = residual ? QuantOutput::raw : QuantOutput::act;
      if (c.name == "de_0.conv2" && !residual) expected = QuantOutput::act;
      CHECK(c.output == expected);
      CHECK(net.metadata.at(c.name + ".output") == to_string(expected));
      CHECK(c.reads_raw == (c.name.find("us_") == 0));
    }
    // A residual sum has the scale of what it is added to; acts have that of their reader.
    if (residual) CHECK(net.convs[0].output_scale == net.convs[2].output_scale);
    CHECK(net.convs[1].output_scale == net.convs[2].input_scale);
    CHECK(net.convs[1].output_zero_point == net.convs[2].input_zero_point);
    CHECK(net.convs[16].sources.size() == 2);
    CHECK(net.convs[16].sources[0].scale.empty());
    CHECK(net.convs[16].sources[1].scale.size() == 32);
  }
}

TEST_CASE("the file holds what was quantized, and the same bytes again") {
  const Seen seen(
      {{"architecture", "resunet"}, {"spacing_um_px", "0.5"}, {"class_names", R"(["background","\u00e9"])"}});
  QuantizedNet net = seen.quantized();
  net.metadata["calibration"] = "{\"a\": \"quote and \\\\ backslash\"}\n";
  const std::string path = seen.dir / "q.safetensors";
  write_quantized(net, path);
  CHECK(quantized_file(net).bytes() == quantized_file(net).bytes());
  const Seen again(seen.facts);
  QuantizedNet other = again.quantized();
  other.metadata["calibration"] = net.metadata["calibration"];
  CHECK(quantized_file(other).bytes() == quantized_file(net).bytes());

  const SafeTensors file(path);
  CHECK(file.metadata() == net.metadata);
  CHECK(file.metadata().at("quantization") == "int8");
  CHECK(file.metadata().at("source_sha256") == sha256_of_file(seen.model->info().path));
  for (const auto& [name, t] : file.tensors()) {
    CHECK(name.find(".in_") == std::string::npos);
    CHECK(reinterpret_cast<std::uintptr_t>(t.data) % (t.dtype == "I8" || t.dtype == "U8" ? 1
                                                      : t.dtype == "I16"                 ? 2
                                                                                         : 4) ==
          0);
  }
  for (const QuantizedConv& c : net.convs) {
    INFO(c.name);
    CHECK(file.entry(c.name + ".weight").shape == c.weight_shape);
    if (c.weight_bits == 16) {
      CHECK(c.name == "ins.conv0");
      CHECK(values_of<std::int16_t>(file, c.name + ".weight") == c.weight);
    } else {
      const auto weight = values_of<std::int8_t>(file, c.name + ".weight");
      CHECK(std::vector<std::int16_t>(weight.begin(), weight.end()) == c.weight);
    }
    CHECK(values_of<std::int32_t>(file, c.name + ".bias") == c.bias);
    CHECK(values_of<float>(file, c.name + ".multiplier") == c.multiplier);
    CHECK(values_of<float>(file, c.name + ".weight_scale") == c.weight_scale);
    CHECK(values_of<float>(file, c.name + ".input_scale").at(0) == c.input_scale);
    CHECK(values_of<std::int32_t>(file, c.name + ".input_zero_point").at(0) == c.input_zero_point);
    CHECK(values_of<float>(file, c.name + ".output_scale").at(0) == c.output_scale);
    CHECK(values_of<std::int32_t>(file, c.name + ".output_zero_point").at(0) == c.output_zero_point);
    for (std::size_t i = 0; i < c.sources.size(); ++i) {
      const std::string source = c.name + ".source" + std::to_string(i);
      CHECK(values_of<float>(file, source + ".multiplier").at(0) == c.sources[i].multiplier);
      CHECK(file.has(source + ".scale") == !c.sources[i].scale.empty());
      if (c.sources[i].scale.empty()) continue;
      CHECK(values_of<std::int16_t>(file, source + ".scale") == c.sources[i].scale);
      CHECK(values_of<std::int32_t>(file, source + ".shift") == c.sources[i].shift);
    }
  }
  const auto table = values_of<std::uint8_t>(file, "ins.conv0.table");
  REQUIRE(table.size() == 768);
  for (std::size_t i = 0; i < table.size(); ++i) CHECK(table[i] == i % 256);  // x / 255 is exact
}

TEST_CASE("pixels through other normalisations") {
  ModelInfo info;
  info.normalization = {Normalization::Kind::mean_std, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
  std::vector<std::uint8_t> table;
  const ActScale s = detail::pixel_table(info, table);
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 256; ++v) {
      const double real =
          (static_cast<double>(v) / 255.0 - info.normalization.mean[c]) / info.normalization.std[c];
      CHECK(std::abs((table[256 * c + v] - s.zero_point) * static_cast<double>(s.scale) - real) <=
            1.0001 * static_cast<double>(s.scale));
    }
  info.normalization.kind = Normalization::Kind::zscore_tile;
  CHECK_THROWS_AS(detail::pixel_table(info, table), InputError);
}

TEST_CASE("the factor inside a sigmoid becomes part of the last weights") {
  const ModelFacts plain = {{"architecture", "resunet"}, {"final_layer", "sigmoid"}};
  ModelFacts scaled = plain;
  scaled["sigmoid_input_multiplier"] = "-2.5";
  const QuantizedConv a = Seen(plain).quantized().convs.back(), b = Seen(scaled).quantized().convs.back();
  CHECK(b.weight[5] == -a.weight[5]);
  CHECK(b.multiplier[1] == doctest::Approx(2.5 * static_cast<double>(a.multiplier[1])));
  CHECK(Seen(scaled).quantized().metadata.at("sigmoid_input_multiplier") == "1");
}

TEST_CASE("integers out of bounds are refused by name") {
  CHECK_NOTHROW(check_quantized(small_conv(), "f"));
  const auto refused = [](const char* field, void (*damage)(QuantizedConv&)) {
    QuantizedConv c = small_conv();
    damage(c);
    INFO(field);
    try {
      check_quantized(c, "f");
      FAIL("accepted");
    } catch (const InputError& e) {
      CHECK(e.file() == "f");
      CHECK(e.field() == std::string("c.") + field);
    }
  };
  refused("input_scale", [](QuantizedConv& c) { c.input_scale = 0.0f; });
  refused("input_scale", [](QuantizedConv& c) { c.input_scale = INFINITY; });
  refused("input_zero_point", [](QuantizedConv& c) { c.input_zero_point = 256; });
  refused("output_scale", [](QuantizedConv& c) { c.output_scale = NAN; });
  refused("output_zero_point", [](QuantizedConv& c) { c.output_zero_point = -1; });
  refused("weight_scale", [](QuantizedConv& c) { c.weight_scale[0] = -1.0f; });
  refused("multiplier", [](QuantizedConv& c) { c.multiplier[0] = 0.0f; });
  refused("multiplier", [](QuantizedConv& c) { c.multiplier[0] = 65536.0f; });
  refused("multiplier", [](QuantizedConv& c) { c.multiplier[0] = NAN; });
  refused("weight", [](QuantizedConv& c) { c.weight[1] = -128; });
  refused("bias", [](QuantizedConv& c) { c.bias[0] = -(1 << 30); });
  refused("source0.multiplier", [](QuantizedConv& c) { c.sources[0].multiplier = INFINITY; });
  refused("source0.shift", [](QuantizedConv& c) { c.sources[0].shift[1] = 1 << 30; });
  // 2^31 / (255 * 127) = 66312 weights of one sign.
  refused("weight", [](QuantizedConv& c) { c.weight.assign(66312, 127); });
  QuantizedConv c = small_conv();
  c.weight.assign(66311, 127);
  c.bias = {0};
  CHECK_NOTHROW(check_quantized(c, "f"));
  c.reads_raw = true;
  CHECK_THROWS_AS(check_quantized(c, "f"), InputError);
}

TEST_CASE("the shipped integer weights belong to the shipped weights") {
  const std::string from = "../weights/nuclei-b16.safetensors", to = "../weights/nuclei-b16.int8.safetensors";
  const SafeTensors file(to);
  CHECK(file.metadata().at("source_sha256") == sha256_of_file(from));
  const auto model = load_model(to), floats = load_model(from);
  CHECK(model->quantized());
  CHECK(model->info().class_names == floats->info().class_names);
  CHECK(model->info().spacing_um_px == floats->info().spacing_um_px);
  const auto size = os::File(to, os::File::Mode::read).size();
  CHECK(static_cast<double>(size) <= 0.26 * 4.0 * static_cast<double>(floats->info().parameters));
}

TEST_CASE("what cannot be quantized is refused") {
  const auto refused = [](const std::string& field, const std::function<void()>& f) {
    std::string named;
    try {
      f();
    } catch (const InputError& e) {
      named = e.field();
    }
    CHECK(named == field);
  };
  const ModelFacts facts = {{"architecture", "resunet"}};
  const Seen old(facts, false);
  refused("ds_0.in_0.weight", [&] { old.quantized(); });
  const Seen seen;
  const std::string path = seen.dir / "q.safetensors";
  write_quantized(seen.quantized(), path);
  const auto integers = load_model(path);
  refused("quantization", [&] { quantize(integers->info(), *seen.calibration); });
  DefaultExecutor executor(1);
  refused("quantization", [&] { calibrate(integers, {"no image is opened"}, {}, executor); });
  Session session(integers);
  CHECK_THROWS_AS(session.observe(seen.calibration.get()), UsageError);
  CHECK_NOTHROW(session.observe(nullptr));
  const Calibration nothing(32);
  CHECK_THROWS_AS(quantize(seen.model->info(), nothing, {}, seen.facts), InputError);
  CHECK_THROWS_AS(
      Seen({{"architecture", "resunet"}, {"normalization", R"({"kind":"zscore_tile"})"}}).quantized(),
      InputError);
}
