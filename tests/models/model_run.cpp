// Runs a model on one input for the comparisons with PyTorch:
//   model_run MODEL.safetensors INPUT.safetensors OUTPUT.safetensors [THREADS]
// INPUT holds "image" U8 [H, W, C] or "input" F32 [C, H, W]; OUTPUT gets "probabilities" F32 [classes, H, W].
#include <microtome/microtome.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int main(int argc, char** argv) try {
  if (argc < 4) return std::fprintf(stderr, "usage: model_run MODEL INPUT OUTPUT [THREADS]\n"), 2;
  const auto model = microtome::load_model(argv[1]);
  microtome::DefaultExecutor executor(argc > 4 ? std::atoi(argv[4]) : 1);
  microtome::Session session(model, &executor);
  const microtome::SafeTensors input(argv[2]);
  const bool image = input.has("image");
  const microtome::TensorEntry& t = input.entry(image ? "image" : "input");
  const std::int64_t height = t.shape.at(image ? 0 : 1), width = t.shape.at(image ? 1 : 2);
  std::vector<float> out(static_cast<std::size_t>(model->info().classes * height * width));
  if (image)
    session.run(t.data, static_cast<std::size_t>(width * t.shape.at(2)), width, height, out.data());
  else
    session.run_planar(input.floats("input", t.shape).data(), width, height, out.data());
  std::string header = "{\"probabilities\":{\"dtype\":\"F32\",\"shape\":" +
                       microtome::shape_text({model->info().classes, height, width}) +
                       ",\"data_offsets\":[0," + std::to_string(out.size() * 4) + "]}}";
  const std::uint64_t length = header.size();
  microtome::os::File file(argv[3], microtome::os::File::Mode::create);
  file.write(0, &length, 8);
  file.write(8, header.data(), header.size());
  file.write(8 + length, out.data(), out.size() * 4);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "model_run: %s\n", e.what());
  return 1;
}
