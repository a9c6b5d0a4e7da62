// The network against PyTorch outputs stored in tests/models/fixtures (written by make_fixtures.py, which
// documents the format): every combination of architecture, topology, width, classes, final layer and
// preprocessing there.
#include <doctest.h>
#include <microtome/microtome.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "hash_weights.hpp"
#include "test_data.hpp"

using namespace microtome;

namespace {

std::vector<float> run_2d(const SafeTensors& fixture, const microtome_test::HashNet& net) {
  const microtome_test::TempDir dir;
  net.file.write(dir / "m.safetensors");
  const ModelFacts facts(fixture.metadata().begin(), fixture.metadata().end());
  const auto model = load_model(dir / "m.safetensors", facts);
  const TensorEntry& image = fixture.entry("image");
  Session session(model);
  return session.run(image.data, image.shape[1], image.shape[0]).data;
}

std::vector<float> run_3d(const SafeTensors& fixture, const microtome_test::HashNet& net,
                          const ModelInfo& facts) {
  const std::string bytes = net.file.bytes();
  const SafeTensors file(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "weights");
  ModelInfo info;
  info.architecture = fixture.metadata().at("architecture");
  const ResUnet<3> network(file, info);
  const TensorEntry& t = fixture.entry("input");
  const Index<3> size = {t.shape[1], t.shape[2], t.shape[3]};
  const auto input = fixture.floats("input", t.shape);
  DefaultExecutor executor(2);
  const auto plan = network.plan(size, 2);
  const AlignedBuffer arena(plan.arena_bytes);
  std::vector<AlignedBuffer> scratch;
  for (int w = 0; w < 2; ++w) scratch.emplace_back(plan.scratch_bytes);
  std::vector<float> out(static_cast<std::size_t>(info.classes * volume<3>(size)));
  network.run({&kernels(), &executor, &scratch}, plan, arena,
              PlanarSource<3>(input.data(), info.input_channels, size), facts.final_layer, 1.0f, out.data());
  return out;
}

}  // namespace

TEST_CASE("stored PyTorch outputs are reproduced within 1e-4 and with the same classes") {
  std::set<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator("models/fixtures"))
    paths.insert(entry.path().string());
  REQUIRE(paths.size() >= 20);
  for (const std::string& path : paths) {
    CAPTURE(path);
    const SafeTensors fixture(path);
    const auto& facts = fixture.metadata();
    microtome_test::NetShape shape;
    shape.rank = std::stoi(facts.at("spatial_dims"));
    shape.base = std::stoi(facts.at("base_filters"));
    shape.channels = std::stoi(facts.at("input_channels"));
    shape.classes = std::stoi(facts.at("classes"));
    shape.norm_before_down = facts.at("topology") == "new";
    const microtome_test::HashNet net(shape);
    const TensorEntry& stored = fixture.entry("probabilities");
    const std::vector<float> want = fixture.floats("probabilities", stored.shape);
    ModelInfo info;
    info.classes = shape.classes;
    info.input_channels = shape.channels;
    detail::FactTable table;
    for (const auto& [key, text] : facts) table[key] = {text, path};
    read_facts(info, table);
    const std::vector<float> got = shape.rank == 2 ? run_2d(fixture, net) : run_3d(fixture, net, info);
    REQUIRE(got.size() == want.size());
    // Logits are unbounded: relative to the largest of them.
    float scale = 1.0f;
    if (info.final_layer == FinalLayer::none)
      for (const float v : want) scale = std::max(scale, std::fabs(v));
    float worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - want[i]) / scale);
    CHECK(worst <= 1e-4f);
    const std::size_t pixels = got.size() / static_cast<std::size_t>(shape.classes);
    std::size_t mismatches = 0;
    for (std::size_t p = 0; p < pixels; ++p) {
      const auto best = [&](const std::vector<float>& v) {
        std::size_t top = 0;
        for (std::size_t c = 1; c < static_cast<std::size_t>(shape.classes); ++c)
          if (v[c * pixels + p] > v[top * pixels + p]) top = c;
        return shape.classes == 1 ? static_cast<std::size_t>(v[p] >= 0.5f) : top;
      };
      mismatches += best(got) != best(want);
    }
    CHECK(mismatches == 0);
  }
}
