// Integer networks against an evaluation one number at a time, byte for byte: both architectures, every
// instruction set of this machine, thread counts, bands; and files that are refused.
#include <doctest.h>
#include <microtome/core/sha256.hpp>
#include <microtome/models/model.hpp>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/int_net.hpp"
#include "test_data.hpp"

using namespace microtome;
using namespace microtome_test;

namespace {

constexpr int kHeight = 64, kWidth = 32;  // three bands, the last one short

std::vector<std::uint8_t> noise_image(int channels) {
  std::mt19937 rng(3);
  std::vector<std::uint8_t> v(static_cast<std::size_t>(kHeight * kWidth * channels));
  for (auto& p : v) p = static_cast<std::uint8_t>(rng() % 3 != 0 ? rng() % 256 : 255 * (rng() % 2));
  return v;
}

FinalLayer final_layer_of(const IntNet& net) {
  return net.metadata.at("final_layer") == "sigmoid" ? FinalLayer::sigmoid : FinalLayer::softmax;
}

std::vector<float> run(const IntNet& net, const KernelTable& table, int threads, const EngineOptions& options,
                       FinalLayer final_layer) {
  const std::string bytes = net.file().bytes();
  const SafeTensors file(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "net");
  ModelInfo info;
  info.architecture = net.metadata.at("architecture");
  const IntResUnet<2> network(file, info, options);
  return run_int_network(network, info, table, threads, final_layer, noise_image(info.input_channels),
                         {kHeight, kWidth});
}

std::vector<float> run(const IntNet& net, const KernelTable& table, int threads,
                       const EngineOptions& options = {}) {
  return run(net, table, threads, options, final_layer_of(net));
}

std::vector<float> expected(const IntNet& net) {
  const int channels = net.layers[0].inputs();
  return int_probabilities(int_logits(net, noise_image(channels), kHeight, kWidth));
}

std::shared_ptr<const Model> load(const IntNet& net, const ModelFacts& facts = {}) {
  const TempDir dir;
  net.file().write(dir / "net.int8.safetensors");
  return load_model(dir / "net.int8.safetensors", facts);
}

}  // namespace

TEST_CASE("integer networks compute what their definition says, on every instruction set") {
  for (const char* architecture : {"resunet", "unet"}) {
    const IntNet net = random_int_net(architecture, 8, 3, 3);
    const std::vector<float> want = expected(net);
    CHECK(std::set<float>(want.begin(), want.end()).size() > 1000);  // the network does not saturate
    for (const KernelTable* table : runnable_tables())
      for (const int threads : {1, 2, 7}) {
        INFO(architecture, ", ", table->isa, ", ", threads, " threads");
        CHECK(run(net, *table, threads) == want);
      }
    for (bool EngineOptions::*off : {&EngineOptions::winograd, &EngineOptions::depth_first}) {
      EngineOptions options;
      options.*off = false;
      CHECK(run(net, kernels(), 2, options) == want);
    }
  }
}

// That all builds of all machines agree, and tomorrow's with today's: they are compared with one number each.
TEST_CASE("integer networks give the same bytes in every build") {
  const auto sum = [](const std::vector<float>& v) {
    Sha256 sha;
    sha.update(v.data(), v.size() * sizeof(float));
    return sha.hex().substr(0, 16);
  };
  const IntNet three = random_int_net("resunet", 8, 3, 3), one = random_int_net("unet", 5, 1, 1);
  for (const KernelTable* table : runnable_tables()) {
    INFO(std::string(table->isa));
    CHECK(sum(run(three, *table, 1, {}, FinalLayer::none)) == "7b4a113bff0c6de5");
    CHECK(sum(run(three, *table, 1)) == "dcf4e8bf6a3db199");
    CHECK(sum(run(one, *table, 1, {}, FinalLayer::none)) == "b548902db5122630");
    CHECK(sum(run(one, *table, 1)) == "a8a6faef6f38a019");
  }
}

TEST_CASE("one class, one channel, blocks partly filled") {
  const IntNet net = random_int_net("resunet", 5, 1, 1);
  CHECK(run(net, kernels(), 1) == expected(net));
}

TEST_CASE("a layer whose sums could exceed Winograd's bound is computed directly") {
  IntNet net = random_int_net("resunet", 8, 3, 2);
  QuantizedConv& c = net.conv("en_4.conv1");
  std::fill_n(c.weight.begin(), c.taps(), std::int16_t{127});
  c.bias[0] = -c.input_zero_point * 127 * static_cast<std::int32_t>(c.taps());
  CHECK(run(net, kernels(), 1) == expected(net));
  const auto model = load(net);
  for (const LayerReport& l : model->layers(64, 64))
    if (l.name == "en_4.conv1") CHECK(l.kernel == "direct i16");
}

TEST_CASE("sessions run quantized files") {
  const IntNet net = random_int_net("resunet", 8, 3, 3);
  const auto model = load(net);
  CHECK(model->quantized());
  CHECK(model->info().weight_type == "I8");
  CHECK(model->info().base_filters == 8);
  const auto layers = model->layers(kWidth, kHeight);
  CHECK(layers.size() == net.layers.size());
  CHECK(layers[0].prologue == "pixels");
  CHECK(layers[0].kernel == "direct i16");
  CHECK(layers[3].prologue == "norm+act");
  CHECK(layers[4].kernel == "winograd4 i16");
  CHECK(layers[16].prologue == "resize+act | norm+act");
  Session session(model);
  const auto pixels = noise_image(3);
  CHECK(session.run(pixels.data(), kWidth, kHeight).data == expected(net));
  const std::vector<float> planar(pixels.size());
  std::vector<float> out(pixels.size());
  CHECK_THROWS_AS(session.run_planar(planar.data(), kWidth, kHeight, out.data()), UsageError);
  CHECK(session.run(pixels.data(), kWidth, kHeight).data == expected(net));  // still usable
}

TEST_CASE("networks trained on transposed images get transposed kernels") {
  IntNet net = random_int_net("resunet", 8, 3, 2);
  const auto plain = load(net);
  for (QuantizedConv& c : net.convs)
    if (c.weight_shape[2] == 3)
      for (std::size_t k = 0; k < c.weight.size(); k += 9) {
        std::swap(c.weight[k + 1], c.weight[k + 3]);
        std::swap(c.weight[k + 2], c.weight[k + 6]);
        std::swap(c.weight[k + 5], c.weight[k + 7]);
      }
  const auto transposed = load(net, {{"axis_order", "wh"}});
  const auto pixels = noise_image(3);
  CHECK(Session(plain).run(pixels.data(), kWidth, kHeight).data ==
        Session(transposed).run(pixels.data(), kWidth, kHeight).data);
}

TEST_CASE("files that are damaged or hostile are refused by name") {
  const IntNet good = random_int_net("resunet", 4, 3, 2);
  CHECK_NOTHROW(load(good));
  const auto refused = [&](const std::string& field, const std::function<void(IntNet&)>& damage) {
    IntNet net = good;
    damage(net);
    std::string named;
    try {
      load(net);
    } catch (const InputError& e) {
      named = e.field();
      CHECK(e.file().find("net.int8") != std::string::npos);
    }
    CHECK(named == field);
  };
  const auto conv = [&](const std::string& field, const std::function<void(QuantizedConv&)>& damage) {
    refused(field, [&](IntNet& n) { damage(n.conv(field.substr(0, field.find('.', field.find('.') + 1)))); });
  };
  for (const float bad : {0.0f, -1.0f, 65536.0f, NAN, INFINITY}) {
    conv("en_1.conv0.multiplier", [&](QuantizedConv& c) { c.multiplier[1] = bad; });
    conv("en_1.conv0.source0.multiplier", [&](QuantizedConv& c) { c.sources[0].multiplier = bad; });
    conv("de_2.conv0.source0.multiplier", [&](QuantizedConv& c) { c.sources[0].multiplier = bad; });
  }
  for (const int bad : {-1, 256, 1 << 30}) {
    conv("ins.conv1.output_zero_point", [&](QuantizedConv& c) { c.output_zero_point = bad; });
    conv("ds_0.conv0.input_zero_point", [&](QuantizedConv& c) { c.input_zero_point = bad; });
  }
  conv("ins.conv2.input_zero_point", [](QuantizedConv& c) { c.input_zero_point ^= 1; });
  conv("us_1.conv0.input_zero_point", [](QuantizedConv& c) { c.input_zero_point = 1; });
  conv("en_2.conv1.output_scale", [](QuantizedConv& c) { c.output_scale *= 2; });
  conv("en_2.conv0.input_scale", [](QuantizedConv& c) { c.input_scale = 0.0f; });
  conv("en_3.conv1.weight_scale", [](QuantizedConv& c) { c.weight_scale[0] = -1.0f; });
  conv("en_3.conv1.weight", [](QuantizedConv& c) { c.weight[5] = -128; });
  conv("en_3.conv1.bias", [](QuantizedConv& c) { c.bias[5] = -(1 << 30); });
  conv("de_1.conv0.source1.shift", [](QuantizedConv& c) { c.sources[1].shift[0] = 1 << 30; });
  conv("de_1.conv1.bias", [](QuantizedConv& c) { c.bias.pop_back(); });
  conv("de_1.conv1.multiplier", [](QuantizedConv& c) { c.multiplier.clear(); });
  conv("ins.conv2.weight", [](QuantizedConv& c) { c.weight_bits = 16; });
  conv("ins.conv0.weight", [](QuantizedConv& c) { c.weight[3] = -32768; });
  conv("en_1.conv0.weight",
       [](QuantizedConv& c) { c.weight_shape.pop_back(), c.weight.resize(c.weight.size() / 3); });
  conv("en_2.conv0.weight", [](QuantizedConv& c) { c.weight_shape[0] = 0, c.weight.clear(); });
  conv("us_3.conv0.weight",
       [](QuantizedConv& c) { c.weight.resize(c.weight.size() / 2), c.weight_shape[1] /= 2; });
  conv("ins.conv0.table", [](QuantizedConv& c) { c.table.resize(512); });
  conv("ins.conv0.table", [](QuantizedConv& c) { c.table.clear(); });
  conv("de_0.conv1.weight", [](QuantizedConv& c) { c.weight_shape = {8, 8, 9}; });
  conv("en_4.conv0.source0.scale", [](QuantizedConv& c) { c.sources[0].scale.pop_back(); });
  refused("out.conv0.output", [](IntNet& n) { n.metadata["out.conv0.output"] = "raw"; });
  refused("topology", [](IntNet& n) { n.metadata["topology"] = "old"; });
  refused("quantization", [](IntNet& n) { n.metadata["quantization"] = "int4"; });
  refused("quantization_version", [](IntNet& n) { n.metadata["quantization_version"] = "2"; });
  refused("sigmoid_input_multiplier", [](IntNet& n) { n.metadata["sigmoid_input_multiplier"] = "2"; });
}

TEST_CASE("what an integer network cannot do is a usage error") {
  const IntNet net = random_int_net("resunet", 4, 3, 2);
  EngineOptions unfused, unknown, impossible;
  unfused.fold_norms = false;
  unknown.algorithms["nothing"] = ConvAlgorithm::direct;
  impossible.algorithms["en_1.conv0"] = ConvAlgorithm::winograd6;
  for (const EngineOptions& o : {unfused, unknown, impossible})
    CHECK_THROWS_AS(run(net, kernels(), 1, o), UsageError);
}
