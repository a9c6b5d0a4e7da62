// The smallest use of the library: one fused layer, leaky(conv3x3(image) + bias), compared with plain loops.
#include <cmath>
#include <cstdio>
#include <vector>

#include "microtome/layers/conv.hpp"

int main() {
  constexpr int kWidth = 9, kHeight = 6;

  // A bright square on a dark ground, [1][height][width].
  std::vector<float> image(kWidth * kHeight, 0.0f);
  for (int y = 2; y < 5; ++y)
    for (int x = 3; x < 7; ++x) image[static_cast<std::size_t>(y * kWidth + x)] = 1.0f;

  // A Laplacian in PyTorch's order [out][in][ky][kx], a bias, and LeakyReLU with slope 0.01.
  const std::vector<float> weight = {0, 1, 0, 1, -4, 1, 0, 1, 0};
  const std::vector<float> bias = {0.25f};
  const microtome::ConvShape shape{/*in=*/{1}, /*out=*/1, /*kernel=*/3, /*stride=*/1, microtome::kLeakySlope};
  const microtome::Conv<float, 2> conv(shape, microtome::rows_of(weight, 1), bias, microtome::Affine{});

  // Output in the blocked layout: 16 channels innermost, one of them in use (docs/layouts.md).
  using Tensor = microtome::Tensor<float, 2>;
  const microtome::Index<2> size = {kHeight, kWidth};
  const microtome::AlignedBuffer memory(Tensor::elements(1, size) * sizeof(float));
  const Tensor out = Tensor::whole(memory.as<float>(), 1, size);

  microtome::DefaultExecutor one_thread(1);
  std::vector<microtome::AlignedBuffer> scratch(1);
  scratch[0] = microtome::AlignedBuffer(conv.scratch_bytes(out.size, one_thread.workers()));
  const microtome::RunContext context{&microtome::kernels(), &one_thread, &scratch};
  const microtome::PlanarSource<2> source(image.data(), 1, out.size);
  conv.run(context, {&source}, out);

  float worst = 0.0f;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      float expected = bias[0];
      for (int ky = 0; ky < 3; ++ky)
        for (int kx = 0; kx < 3; ++kx) {
          const int iy = y + ky - 1, ix = x + kx - 1;
          if (iy < 0 || iy >= kHeight || ix < 0 || ix >= kWidth) continue;  // zero padding
          expected += weight[static_cast<std::size_t>(ky * 3 + kx)] *
                      image[static_cast<std::size_t>(iy * kWidth + ix)];
        }
      if (expected < 0.0f) expected *= microtome::kLeakySlope;
      const float got = *out.pixel(0, {y, x});
      worst = std::fmax(worst, std::fabs(got - expected));
      std::printf("%6.2f", static_cast<double>(got));
    }
    std::printf("\n");
  }
  std::printf("kernels: %s, largest difference to plain loops: %g\n", microtome::active_isa(),
              static_cast<double>(worst));
  return worst < 1e-6f ? 0 : 1;
}
