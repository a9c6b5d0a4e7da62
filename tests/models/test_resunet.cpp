// The whole network, 2D and 3D, both topologies, against values that GaNDLF's own modules gave under PyTorch
// for hash-made weights (hash_weights.hpp); and everything that must be refused.
#include <doctest.h>
#include <microtome/microtome.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "hash_weights.hpp"
#include "test_data.hpp"

using namespace microtome;
using microtome_test::hash_input;
using microtome_test::hash_unit;
using microtome_test::HashNet;
using microtome_test::NetShape;

namespace {

// Base 4, 2 classes; 2D input [3, 32, 48], 3D input [1, 16, 32, 16].
struct Golden {
  const char* architecture;
  int rank;
  bool norm_before_down;
  FinalLayer final_layer;
  double mean, min, max;
  std::vector<double> first, last;
};

const Golden kGoldens[] = {
    {"unet",
     2,
     true,
     FinalLayer::sigmoid,
     0.5431546,
     0.493319,
     0.590639,
     {0.514768, 0.511519, 0.501044, 0.502215, 0.50051, 0.499153},
     {0.521821, 0.514789, 0.51974}},
    {"unet",
     3,
     true,
     FinalLayer::sigmoid,
     0.5003917,
     0.460687,
     0.537075,
     {0.499732, 0.493117, 0.484043, 0.48377, 0.478335, 0.476348},
     {0.501498, 0.498189, 0.503778}},
    {"resunet",
     2,
     true,
     FinalLayer::sigmoid,
     0.5379235,
     0.435619,
     0.634488,
     {0.532812, 0.50578, 0.515578, 0.520965, 0.507399, 0.502982},
     {0.516742, 0.505054, 0.521147}},
    {"resunet",
     2,
     true,
     FinalLayer::softmax,
     0.5,
     0.325511,
     0.674489,
     {0.533917, 0.462767, 0.48776, 0.481446, 0.478178, 0.458906},
     {0.491981, 0.495587, 0.536468}},
    {"resunet",
     3,
     true,
     FinalLayer::sigmoid,
     0.4990330,
     0.371747,
     0.644119,
     {0.493913, 0.483987, 0.49971, 0.502717, 0.495939, 0.505326},
     {0.494729, 0.488239, 0.499063}},
    {"resunet",
     3,
     true,
     FinalLayer::softmax,
     0.5,
     0.322330,
     0.677670,
     {0.502479, 0.461916, 0.510433, 0.4774, 0.477016, 0.48132},
     {0.485297, 0.47872, 0.505783}},
    {"unet",
     2,
     false,
     FinalLayer::sigmoid,
     0.5430697,
     0.493366,
     0.591660,
     {0.514745, 0.511377, 0.500901, 0.502052, 0.50046, 0.499216},
     {0.521762, 0.514701, 0.519772}},
    {"unet",
     3,
     false,
     FinalLayer::sigmoid,
     0.5002772,
     0.459460,
     0.538270,
     {0.499991, 0.492703, 0.48353, 0.482822, 0.477455, 0.475553},
     {0.501581, 0.498341, 0.503691}},
    {"resunet",
     2,
     false,
     FinalLayer::sigmoid,
     0.5372528,
     0.436397,
     0.634421,
     {0.531848, 0.503929, 0.505806, 0.512671, 0.510841, 0.510811},
     {0.515514, 0.500143, 0.521701}},
    {"resunet",
     3,
     false,
     FinalLayer::sigmoid,
     0.5026324,
     0.320499,
     0.701007,
     {0.488348, 0.496216, 0.513497, 0.512183, 0.500357, 0.508827},
     {0.513857, 0.492845, 0.504405}},
};

template <int Rank>
std::vector<float> run(const Golden& g, const Index<Rank>& size, int channels, int threads,
                       const KernelTable& table) {
  const HashNet net(NetShape{Rank, 4, channels, 2, g.norm_before_down});
  const std::string bytes = net.file.bytes();
  const SafeTensors file(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "golden");
  ModelInfo info;
  info.architecture = g.architecture;
  const ResUnet<Rank> network(file, info);
  CHECK(info.norm_before_down == g.norm_before_down);
  DefaultExecutor executor(threads);
  const auto plan = network.plan(size, threads);
  const AlignedBuffer arena(plan.arena_bytes);
  std::vector<AlignedBuffer> scratch;
  for (int w = 0; w < threads; ++w) scratch.emplace_back(plan.scratch_bytes);
  const auto input = hash_input(static_cast<std::size_t>(channels * volume<Rank>(size)));
  std::vector<float> out(static_cast<std::size_t>(2 * volume<Rank>(size)), NAN);
  network.run({&table, &executor, &scratch}, plan, arena, PlanarSource<Rank>(input.data(), channels, size),
              g.final_layer, 1.0f, out.data());
  return out;
}

std::vector<float> run(const Golden& g, int threads, const KernelTable& table) {
  return g.rank == 2 ? run<2>(g, {32, 48}, 3, threads, table) : run<3>(g, {16, 32, 16}, 1, threads, table);
}

std::shared_ptr<const Model> load(const HashNet& net,
                                  const ModelFacts& facts = {{"architecture", "resunet"}}) {
  const microtome_test::TempDir dir;
  net.file.write(dir / "m.safetensors");
  return load_model(dir / "m.safetensors", facts);
}

}  // namespace

TEST_CASE("the hash that makes the weights is the documented one") {
  const double t0[] = {0, .12644984, .24954471, .93336958},
               t7[] = {.99974398, .01064351, .86613736, .1613746};
  for (std::uint32_t i = 0; i < 4; ++i) {
    CHECK(hash_unit(0, i) == doctest::Approx(t0[i]).epsilon(1e-7));
    CHECK(hash_unit(7, i) == doctest::Approx(t7[i]).epsilon(1e-7));
  }
}

TEST_CASE("unet and resunet, 2D and 3D, both topologies, give PyTorch's values on every instruction set") {
  for (const KernelTable* table : runnable_tables())
    for (const Golden& g : kGoldens) {
      INFO(table->isa, ": ", g.architecture, " ", g.rank, "D, norm before down ", g.norm_before_down);
      const std::vector<float> out = run(g, 1, *table);
      const double mean = std::accumulate(out.begin(), out.end(), 0.0) / static_cast<double>(out.size());
      CHECK(std::fabs(mean - g.mean) < 2e-6);
      CHECK(std::fabs(static_cast<double>(*std::min_element(out.begin(), out.end())) - g.min) < 2e-6);
      CHECK(std::fabs(static_cast<double>(*std::max_element(out.begin(), out.end())) - g.max) < 2e-6);
      for (std::size_t i = 0; i < 6; ++i) CHECK(std::fabs(static_cast<double>(out[i]) - g.first[i]) < 2e-6);
      for (std::size_t i = 0; i < 3; ++i)
        CHECK(std::fabs(static_cast<double>(out[out.size() - 3 + i]) - g.last[i]) < 2e-6);
    }
}

TEST_CASE("the number of threads does not change a bit") {
  for (const Golden& g : {kGoldens[2], kGoldens[9]}) {
    const std::vector<float> one = run(g, 1, kernels());
    for (const int threads : {2, 3, 7}) CHECK(run(g, threads, kernels()) == one);
  }
}

TEST_CASE("a session is reusable, for other sizes too, and pixels equal their normalised floats") {
  const auto model =
      load(HashNet(NetShape{2, 8, 3, 3, true}), {{"architecture", "unet"}, {"final_layer", "sigmoid"}});
  Session session(model);
  std::vector<std::uint8_t> rgb(64 * 48 * 3);
  for (std::size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<std::uint8_t>(hash_unit(5, static_cast<std::uint32_t>(i)) * 256);
  const ProbabilityMap first = session.run(rgb.data(), 64, 48);
  CHECK(first.classes == 3);
  session.run(rgb.data(), 16, 32);
  CHECK(session.run(rgb.data(), 64, 48).data == first.data);
  std::vector<float> planar(rgb.size()), out(first.data.size());
  for (std::size_t p = 0; p < rgb.size() / 3; ++p)
    for (std::size_t c = 0; c < 3; ++c)
      planar[c * rgb.size() / 3 + p] = static_cast<float>(rgb[p * 3 + c]) / 255.0f;
  session.run_planar(planar.data(), 64, 48, out.data());
  for (std::size_t i = 0; i < out.size(); ++i) CHECK(std::fabs(out[i] - first.data[i]) < 2e-6f);
}

TEST_CASE("normalisation: z-score of the tile, mean and std per channel, and none") {
  const HashNet net(NetShape{2, 4, 3, 2, true});
  std::vector<std::uint8_t> rgb(32 * 32 * 3);
  for (std::size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<std::uint8_t>(40 + hash_unit(6, static_cast<std::uint32_t>(i)) * 180);
  double sum = 0, squares = 0;
  for (const std::uint8_t v : rgb) sum += v, squares += v * v;
  const double n = static_cast<double>(rgb.size()), mean = sum / n,
               deviation = std::sqrt((squares - n * mean * mean) / (n - 1));
  const auto check = [&](const char* text, auto&& normalise) {
    const auto model = load(net, {{"architecture", "resunet"}, {"normalization", text}});
    Session session(model);
    const ProbabilityMap got = session.run(rgb.data(), 32, 32);
    std::vector<float> planar(rgb.size()), want(got.data.size());
    for (std::size_t p = 0; p < 1024; ++p)
      for (std::size_t c = 0; c < 3; ++c)
        planar[c * 1024 + p] = static_cast<float>(normalise(static_cast<double>(rgb[p * 3 + c]), c));
    session.run_planar(planar.data(), 32, 32, want.data());
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(std::fabs(want[i] - got.data[i]) < 1e-4f);
  };
  check(R"({"kind":"zscore_tile"})", [&](double v, std::size_t) { return (v - mean) / deviation; });
  check("none", [&](double v, std::size_t) { return v; });
  const double means[] = {0.485, 0.456, 0.406}, stds[] = {0.229, 0.224, 0.225};
  check(R"({"kind":"mean_std","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]})",
        [&](double v, std::size_t c) { return (v / 255 - means[c]) / stds[c]; });
}

TEST_CASE("axis order wh runs the transposed image") {
  const HashNet net(NetShape{2, 4, 3, 2, true});
  const auto hw = load(net), wh = load(net, {{"architecture", "resunet"}, {"axis_order", "wh"}});
  std::vector<std::uint8_t> image(32 * 48 * 3), turned(image.size());
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::uint8_t>(i * 7919 >> 3);
  for (std::size_t y = 0; y < 32; ++y)
    for (std::size_t x = 0; x < 48; ++x)
      for (std::size_t c = 0; c < 3; ++c) turned[(x * 32 + y) * 3 + c] = image[(y * 48 + x) * 3 + c];
  const ProbabilityMap a = Session(wh).run(image.data(), 48, 32), b = Session(hw).run(turned.data(), 32, 48);
  for (std::size_t y = 0; y < 32; ++y)
    for (std::size_t x = 0; x < 48; ++x) CHECK(std::fabs(a.data[y * 48 + x] - b.data[x * 32 + y]) < 2e-6f);
}

TEST_CASE("the arena needs about one of the two widest tensors of the last decoder level") {
  const auto model = load(HashNet(NetShape{2, 16, 3, 2, true}));
  const auto plan = model->network().plan({512, 512}, 1);
  CHECK(plan.arena_bytes <= Tensor<float, 2>::elements(32, {512, 512}) * sizeof(float) * 12 / 10);
}

TEST_CASE("images of several bands: nothing of an earlier image or of the number of threads shows") {
  const auto model = load(HashNet(NetShape{2, 16, 3, 2, true}));
  for (const std::int64_t height : {112, 208}) {
    const std::size_t pixels = static_cast<std::size_t>(height * 48);
    const std::vector<float> image = microtome_test::hash_input(pixels * 3), bad(pixels * 3, NAN);
    std::vector<float> first;
    for (const int threads : {1, 2, 7}) {
      DefaultExecutor executor(threads);
      Session session(model, &executor);
      std::vector<float> out(pixels * 2);
      session.run_planar(bad.data(), 48, height, out.data());
      session.run_planar(image.data(), 48, height, out.data());
      if (first.empty()) first = out;
      CHECK(std::all_of(out.begin(), out.end(), [](float v) { return std::isfinite(v); }));
      CHECK(out == first);
    }
  }
}

TEST_CASE("what cannot be run is refused by name") {
  const microtome_test::TempDir dir;
  const std::string path = dir / "m.safetensors";
  const auto refuse = [&](const HashNet& net, const ModelFacts& facts, const char* message) {
    net.file.write(path);
    CAPTURE(message);
    CHECK_THROWS_WITH_AS(load_model(path, facts), doctest::Contains(message), InputError);
  };
  const HashNet good(NetShape{2, 4, 3, 2, true});
  refuse(good, {}, "architecture: is stated neither");
  refuse(good, {{"architecture", "vgg11"}}, "architecture: 'vgg11' is not supported");
  refuse(good, {{"architecture", "resunet"}, {"final_layer", "tanh"}}, "final_layer: 'tanh'");
  refuse(good, {{"architecture", "resunet"}, {"class_names", "[\"a\"]"}},
         "class_names: is not an array of 2");
  refuse(good, {{"architecture", "resunet"}, {"thresholds", "[0.5, 7]"}}, "thresholds: outside 0..1");
  refuse(good, {{"architecture", "resunet"}, {"patch_size_pixels", "500"}}, "patch_size_pixels: 500");
  refuse(good, {{"architecture", "resunet"}, {"spacing_um_px", "half"}}, "spacing_um_px: 'half'");
  refuse(good, {{"architecture", "resunet"}, {"normalization", "{\"kind\":\"x\"}"}}, "normalization: 'x'");
  refuse(good, {{"architecture", "resunet"}, {"axis_order", "xy"}}, "axis_order: 'xy'");
  refuse(good, {{"architecture", "resunet"}, {"microtome.version", "2"}}, "microtome.version");
  refuse(good, {{"architecture", "resunet"}, {"spatial_dims", "3"}}, "spatial_dims");
  refuse(HashNet(NetShape{3, 4, 1, 2, true}), {{"architecture", "resunet"}}, "ins.conv0.weight: has shape");
  HashNet other(NetShape{2, 4, 3, 2, true});
  other.file = {};
  other.file.add("x", {1}, {1});
  refuse(other, {{"architecture", "resunet"}}, "ins.conv0.weight: the tensor is missing");
}

TEST_CASE("a 3x3 upsampling convolution and BrainMaGe's output block are refused by tensor name") {
  const microtome_test::TempDir dir;
  const HashNet net(NetShape{2, 4, 3, 2, true});
  const std::string bytes = net.file.bytes();
  const SafeTensors good(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "good");
  const auto rewrite = [&](auto&& keep) {
    microtome_test::SafeTensorsFile f;
    for (const auto& [name, t] : good.tensors()) keep(f, name, t);
    f.write(dir / "m.safetensors");
  };
  rewrite([](auto& f, const std::string& name, const TensorEntry& t) {
    if (name != "us_2.conv0.weight") return f.add_raw(name, t.dtype, t.shape, t.data, t.bytes);
    f.add(name, {16, 32, 3, 3}, std::vector<float>(16 * 32 * 9, 0.1f));
  });
  CHECK_THROWS_WITH_AS(
      load_model(dir / "m.safetensors", {{"architecture", "resunet"}}),
      doctest::Contains("us_2.conv0.weight: has shape [16, 32, 3, 3], [16, 32, 1, 1] expected"), InputError);
  rewrite([](auto& f, const std::string& name,
             const TensorEntry& t) {  // BrainMaGe: no de_0, an output block in its place
    if (name.rfind("de_0.", 0) != 0) f.add_raw(name, t.dtype, t.shape, t.data, t.bytes);
  });
  CHECK_THROWS_WITH_AS(load_model(dir / "m.safetensors", {{"architecture", "resunet"}}),
                       doctest::Contains("de_0.in_0.weight: the tensor is missing"), InputError);
  rewrite([](auto& f, const std::string& name, const TensorEntry& t) {  // instance norm may lack the counters
    if (name.find("num_batches_tracked") == std::string::npos)
      f.add_raw(name, t.dtype, t.shape, t.data, t.bytes);
  });
  CHECK_NOTHROW(load_model(dir / "m.safetensors", {{"architecture", "resunet"}}));
}

TEST_CASE("image sizes that are not multiples of 16 are a usage error") {
  const auto model = load(HashNet(NetShape{2, 4, 3, 2, true}));
  std::vector<std::uint8_t> rgb(64 * 64 * 3);
  CHECK_THROWS_AS(Session(model).run(rgb.data(), 40, 48), UsageError);
  CHECK_THROWS_AS(Session(model).run(rgb.data(), 0, 16), UsageError);
}

TEST_CASE("a JSON file beside bare weights supplies the facts") {
  const microtome_test::TempDir dir;
  HashNet(NetShape{2, 4, 3, 2, true}).file.write(dir / "m.safetensors");
  std::ofstream(dir / "config.json")
      << R"({"architecture":"unet","num_classes":2,"patch_size_pixels":256,"spacing_um_px":0.5,)"
      << R"("class_names":["background","tumour"],"transform":[{"name":"ToTensor"}]})";
  const auto model = load_model(dir / "m.safetensors");
  CHECK(model->info().architecture == "unet");
  CHECK(model->info().patch_size == 256);
  CHECK(model->info().spacing_um_px == 0.5);
  CHECK(model->info().class_names[1] == "tumour");
}

TEST_CASE("a JSON file's normalisation counts, and its mistakes are reported under its own name") {
  const microtome_test::TempDir dir;
  HashNet(NetShape{2, 4, 3, 2, true}).file.write(dir / "m.safetensors");
  const auto with = [&](const std::string& json) {
    std::ofstream(dir / "m.json") << json;
    return load_model(dir / "m.safetensors");
  };
  const auto refused = [&](const std::string& json, const std::string& message) {
    CHECK_THROWS_WITH_AS(with(json), doctest::Contains(message.c_str()), InputError);
  };
  const auto model = with(
      R"({"architecture":"resunet","normalization":{"kind":"mean_std","mean":[0.5,0.25,0],"std":[1,2,4]}})");
  CHECK(model->info().normalization.kind == Normalization::Kind::mean_std);
  CHECK(model->info().normalization.std[2] == 4.0);
  const auto transform = with(
      R"({"architecture":"unet","transform":[{"name":"Resize","arguments":{"size":512}},{"name":"ToTensor"},)"
      R"({"name":"Normalize","arguments":{"mean":[0.7,0.6,0.5],"std":[0.1,0.2,0.3]}}]})");
  CHECK(transform->info().normalization.kind == Normalization::Kind::mean_std);
  CHECK(transform->info().normalization.mean[1] == 0.6);
  CHECK(with(R"({"architecture":"unet","transform":[{"name":"ToTensor"}]})")->info().normalization.kind ==
        Normalization::Kind::div255);
  CHECK(with(R"({"architecture":"unet","class_names":["a\nb","\"q\""]})")->info().class_names[0] == "a\nb");
  refused(R"({"architecture":"unet","patch_size_pixels":17})", "m.json: patch_size_pixels: 17");
  refused(R"({"architecture":"unet","spatial_dims":true})", "m.json: spatial_dims: 'true'");
  refused(R"({"architecture":"unet","axis_order":["wh"]})", "m.json: axis_order");
  refused(R"({"architecture":"unet","normalization":{"kind":"nonsense"}})",
          "m.json: normalization: 'nonsense'");
  refused(R"({"architecture":"unet","transform":[{"name":"ColorJitter"}]})",
          "m.json: transform: 'ColorJitter'");
  refused(R"([1])", "m.json: is not a JSON object");
}
