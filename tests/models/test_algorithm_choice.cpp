// The cost model where measurements leave no doubt, and that networks are built by it.
#include <doctest.h>
#include <microtome/microtome.hpp>

#include <map>
#include <string>

using namespace microtome;

namespace {

constexpr ConvAlgorithm kDirect = ConvAlgorithm::direct, kWinograd4 = ConvAlgorithm::winograd4,
                        kWinograd6 = ConvAlgorithm::winograd6;

ConvAlgorithm choice(int in, int out, std::int64_t side, int stride = 1) {
  return choose_algorithm<2>({{in}, out, 3, stride, kLeakySlope, kDirect}, false, {side, side});
}

std::map<std::string, std::string> kernels_for(std::int64_t side) {
  EngineOptions options;
  options.side = side;
  std::map<std::string, std::string> list;
  const auto model = load_model("../weights/nuclei-b16.safetensors", {}, options);
  CHECK(model->tuned_layers().empty());
  for (const LayerReport& l : model->layers(64, 64)) list[l.name] = l.kernel;
  return list;
}

}  // namespace

TEST_CASE("large images are computed by large tiles, small ones by small tiles or directly") {
  for (const int channels : {16, 32, 64, 128, 256}) CHECK(choice(channels, channels, 256) == kWinograd6);
  CHECK(choice(512, 512, 32) == kWinograd4);
  CHECK(choice(64, 64, 16) == kWinograd4);  // four tiles of 4; tiles of 6 hang over
  CHECK(choice(128, 128, 8) == kDirect);
  CHECK(choice(256, 256, 4) == kDirect);
  CHECK(choice(256, 256, 1) == kDirect);
}

TEST_CASE("what Winograd cannot compute, or not well") {
  CHECK(choice(64, 64, 256, 2) == kDirect);
  CHECK(choice(3, 16, 512) == kDirect);
  const ConvShape last{{32}, 2, 3, 1, kNoActivation, kDirect}, many{{32}, 5, 3, 1, kNoActivation, kDirect};
  CHECK(choose_algorithm<2>(last, true, {512, 512}) == ConvAlgorithm::head);
  CHECK(choose_algorithm<2>(many, true, {512, 512}) == kDirect);
  CHECK(choose_algorithm<3>({{64}, 64, 3, 1, kLeakySlope, kDirect}, false, {64, 64, 64}) == kDirect);
}

TEST_CASE("a network's algorithms are those for its patch, or for the side that is asked for") {
  auto small = kernels_for(64), large = kernels_for(512);
  CHECK(small["en_4.conv0"] == "direct");
  CHECK(large["en_4.conv0"] == "winograd4");
  CHECK(small["en_2.conv0"] == "winograd4");
  CHECK(large["en_2.conv0"] == "winograd6");
  CHECK(kernels_for(0) == kernels_for(read_patch_size("../weights/nuclei-b16.safetensors")));
}
