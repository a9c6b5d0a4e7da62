// Every part of the engine that can be switched off: off, it computes the same and does what its name says.
#include <doctest.h>
#include <microtome/microtome.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "hash_weights.hpp"
#include "test_data.hpp"

using namespace microtome;
using microtome_test::hash_input;
using microtome_test::HashNet;
using microtome_test::NetShape;

namespace {

struct Case {
  const char* architecture;
  bool norm_before_down;
  int base;
};

const Case kCases[] = {{"resunet", true, 16}, {"resunet", false, 4}, {"unet", true, 4}, {"unet", false, 16}};

// A kernel table that counts what passes call; the counters are those of this test program.
std::int64_t loaded_rows = 0, residual_rows = 0;
KernelTable counting_table() {
  static const KernelTable& real = kernels();
  KernelTable t = real;
  t.load_row_f32 = [](const LoadRowArgs& a) {
    ++loaded_rows;
    real.load_row_f32(a);
  };
  t.conv_row_f32 = [](const ConvRowArgs& a) {
    residual_rows += a.residual != nullptr;
    real.conv_row_f32(a);
  };
  t.winograd_output_f32 = [](const WinogradOutputArgs& a) {
    residual_rows += a.residual != nullptr;
    real.winograd_output_f32(a);
  };
  return t;
}

template <int Rank>
struct Outcome {
  std::vector<float> out;
  std::size_t arena_bytes = 0;
  std::int64_t loaded = 0, residuals = 0;
  std::vector<std::string> algorithms;
  double macs = 0;
};

template <int Rank>
Outcome<Rank> run(const Case& c, const Index<Rank>& size, const EngineOptions& options, int threads = 1) {
  const HashNet net(NetShape{Rank, c.base, 3, 2, c.norm_before_down});
  const std::string bytes = net.file.bytes();
  const SafeTensors file(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "net");
  ModelInfo info;
  info.architecture = c.architecture;
  const ResUnet<Rank> network(file, info, options);
  DefaultExecutor executor(threads);
  const auto plan = network.plan(size, threads);
  const AlignedBuffer arena(plan.arena_bytes);
  std::fill_n(arena.as<float>(), plan.arena_bytes / sizeof(float), NAN);
  AlignedBuffer shared(plan.shared_bytes);
  std::vector<AlignedBuffer> scratch;
  for (int w = 0; w < threads; ++w) scratch.emplace_back(plan.scratch_bytes);
  const auto input = hash_input(static_cast<std::size_t>(3 * volume<Rank>(size)));
  Outcome<Rank> o;
  o.out.assign(static_cast<std::size_t>(2 * volume<Rank>(size)), NAN);
  const KernelTable table = threads == 1 ? counting_table() : kernels();
  loaded_rows = residual_rows = 0;
  network.run({&table, &executor, &scratch, &shared}, plan, arena, PlanarSource<Rank>(input.data(), 3, size),
              FinalLayer::sigmoid, 1.0f, o.out.data());
  o.loaded = loaded_rows, o.residuals = residual_rows;
  o.arena_bytes = plan.arena_bytes;
  for (const auto& conv : network.convs()) {
    o.algorithms.emplace_back(to_string(conv.conv.algorithm()));
    Index<Rank> level = size;
    for (auto& s : level) s >>= conv.level;
    o.macs += conv.conv.macs(level);
  }
  return o;
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = d <= worst ? worst : d;  // a NaN stays
  }
  return worst;
}

EngineOptions without(const std::string& name) {
  EngineOptions o;
  for (const EngineSwitch& s : kEngineSwitches)
    if (s.name == name) o.*s.on = false;
  return o;
}

EngineOptions all_off() {
  EngineOptions o;
  for (const EngineSwitch& s : kEngineSwitches) o.*s.on = false;
  return o;
}

const Index<2> kBands = {208, 48};  // three bands, the last one short

}  // namespace

TEST_CASE("whatever is switched off, the probabilities stay") {
  for (const Case& c : kCases) {
    const std::vector<float> full = run<2>(c, kBands, {}).out;
    REQUIRE(std::all_of(full.begin(), full.end(), [](float v) { return std::isfinite(v); }));
    CHECK(*std::max_element(full.begin(), full.end()) - *std::min_element(full.begin(), full.end()) > 0.05f);
    for (const EngineSwitch& s : kEngineSwitches) {
      INFO(c.architecture, " ", c.norm_before_down, " without ", s.name);
      CHECK(difference(run<2>(c, kBands, without(s.name)).out, full) < 1e-5);
    }
    INFO(c.architecture, " ", c.norm_before_down, " without anything");
    CHECK(difference(run<2>(c, kBands, all_off()).out, full) < 1e-5);
  }
}

TEST_CASE("any two switches together, and volumes") {
  const Case small = {"resunet", true, 4};
  const std::vector<float> full = run<2>(small, {112, 32}, {}).out;
  for (const EngineSwitch& a : kEngineSwitches)
    for (const EngineSwitch& b : kEngineSwitches) {
      EngineOptions o;
      o.*a.on = o.*b.on = false;
      INFO(a.name, " and ", b.name);
      CHECK(difference(run<2>(small, {112, 32}, o).out, full) < 1e-5);
    }
  const std::vector<float> volume = run<3>(small, {112, 16, 32}, {}).out;
  for (const EngineSwitch& s : kEngineSwitches) {
    INFO("3D without ", s.name);
    CHECK(difference(run<3>(small, {112, 16, 32}, without(s.name)).out, volume) < 1e-5);
  }
}

TEST_CASE("switched off, threads change no bit") {
  for (const EngineOptions& o : {without("blocked layout"), without("zero-copy concat"), all_off()})
    CHECK(run<2>(kCases[0], kBands, o, 3).out == run<2>(kCases[0], kBands, o, 1).out);
}

TEST_CASE("each switch does what its name says") {
  const Case& c = kCases[0];  // resunet, norms before the strided convolutions
  const Outcome<2> full = run<2>(c, kBands, {});
  REQUIRE(full.residuals > 0);
  const auto off = [&](const char* name) { return run<2>(c, kBands, without(name)); };

  // Passes call load_row_f32 too.
  const Outcome<2> norms = off("norm folding"), activation = off("fused activation");
  CHECK(norms.loaded > full.loaded);
  CHECK(activation.loaded > full.loaded);
  CHECK(norms.loaded > activation.loaded);  // the norms in front of enlarging have no activation behind them
  CHECK(norms.out != full.out);             // folding rounds differently
  CHECK(activation.out == full.out);        // an activation does not

  const Outcome<2> residual = off("fused residual");
  CHECK(residual.residuals == 0);
  CHECK(residual.arena_bytes > full.arena_bytes);
  CHECK(off("zero-copy concat").arena_bytes > full.arena_bytes);
  CHECK(off("blocked layout").arena_bytes > full.arena_bytes);

  // Rows that two neighbouring tiles need are loaded twice; a pass touches each once.
  const Outcome<2> prologue = off("fused prologue");
  CHECK(prologue.arena_bytes > full.arena_bytes);
  CHECK(prologue.loaded < full.loaded);
  CHECK(prologue.loaded > 0);

  const Outcome<2> small = off("1x1 before upsampling");
  CHECK(small.arena_bytes > full.arena_bytes);
  CHECK(small.macs > full.macs);

  const auto count = [](const Outcome<2>& o, const char* name) {
    return std::count_if(o.algorithms.begin(), o.algorithms.end(),
                         [&](const std::string& a) { return a.find(name) == 0; });
  };
  CHECK(count(full, "winograd") > 20);
  CHECK(count(off("winograd"), "winograd") == 0);
  CHECK(count(off("winograd"), "direct") == count(full, "winograd") + count(full, "direct"));

  const Outcome<2> whole = off("depth-first");
  CHECK(whole.arena_bytes > full.arena_bytes);
}

TEST_CASE("algorithms can be chosen by layer, and only such as a layer has") {
  const Case& c = kCases[0];
  EngineOptions o;
  o.algorithms = {{"ins.conv1", ConvAlgorithm::direct}, {"en_1.conv0", ConvAlgorithm::winograd4}};
  const Outcome<2> full = run<2>(c, kBands, {}), chosen = run<2>(c, kBands, o);
  CHECK(chosen.algorithms[1] == "direct");
  CHECK(chosen.algorithms[4] == "winograd4");
  CHECK(std::equal(chosen.algorithms.begin() + 5, chosen.algorithms.end(), full.algorithms.begin() + 5));
  CHECK(difference(chosen.out, full.out) < 1e-5);
  o.algorithms = {{"en_9.conv0", ConvAlgorithm::direct}};
  CHECK_THROWS_WITH_AS(run<2>(c, kBands, o), doctest::Contains("'en_9.conv0' is not a layer"), UsageError);
  o.algorithms = {{"ds_0.conv0", ConvAlgorithm::winograd4}};  // stride 2
  CHECK_THROWS_WITH_AS(run<2>(c, kBands, o), doctest::Contains("cannot compute"), UsageError);
}
