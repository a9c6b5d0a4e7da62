// Files of integer networks: refused with an error that names the file, or run. Whatever their numbers are,
// the best kernels of this machine then compute what the plainest do.
#include "fuzz.hpp"
#include "models/int_net.hpp"

namespace {

using namespace microtome;

std::string file_of(const char* architecture, int base, int channels, int classes) {
  return microtome_test::random_int_net(architecture, base, channels, classes).file().bytes();
}

}  // namespace

std::vector<std::string> microtome_fuzz::seeds() {
  return {file_of("resunet", 1, 1, 1), file_of("unet", 2, 3, 2)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using microtome_fuzz::require;
  try {
    const SafeTensors file(data, size, "input");
    ModelInfo info;
    const auto architecture = file.metadata().find("architecture");
    if (architecture == file.metadata().end()) return 0;
    info.architecture = architecture->second == "unet" ? "unet" : "resunet";
    const IntResUnet<2> network(file, info);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(16 * 32 * info.input_channels));
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 256);
    const auto run = [&](const KernelTable& table) {
      return microtome_test::run_int_network(network, info, table, 1, FinalLayer::none, pixels, {16, 32});
    };
    require(run(kernels()) == run(*runnable_tables().front()), "all kernels give the same logits");
  } catch (const InputError& e) {
    require(e.file() == "input", "errors name the file");
  }
  return 0;
}
