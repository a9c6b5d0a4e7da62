// Winograd's minimal filtering F(m x m, 3 x 3): its matrices, for the reference kernels and for
// documentation.
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A
// d: (m+2) x (m+2) input pixels, g: the 3 x 3 kernel, Y: m x m output pixels, * element by element. Summed
// over input channels, the product becomes (m+2)^2 independent matrix products, with 36/16 = 2.25 (m = 4) or
// 64/36 = 1.78 (m = 6) multiplications per output instead of 9.
// Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"; interpolation points
// 0, +-1, +-2 (m = 4) and 0, +-1, +-2, +-1/2 (m = 6), and infinity. The rows of G for +-1/2 are divided by 32
// and the columns of A^T multiplied by it, which keeps every constant of A^T an integer.
#pragma once

namespace microtome {

template <int M>
struct WinogradMatrices;

template <>
struct WinogradMatrices<4> {
  static constexpr double kInput[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                          {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr double kWeights[6][3] = {{1. / 4, 0, 0},
                                            {-1. / 6, -1. / 6, -1. / 6},
                                            {-1. / 6, 1. / 6, -1. / 6},
                                            {1. / 24, 1. / 12, 1. / 6},
                                            {1. / 24, -1. / 12, 1. / 6},
                                            {0, 0, 1}};
  static constexpr double kOutput[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
};

template <>
struct WinogradMatrices<6> {
  static constexpr double kInput[8][8] = {
      {1, 0, -5.25, 0, 5.25, 0, -1, 0},    {0, 1, 1, -4.25, -4.25, 1, 1, 0},
      {0, -1, 1, 4.25, -4.25, -1, 1, 0},   {0, .5, .25, -2.5, -1.25, 2, 1, 0},
      {0, -.5, .25, 2.5, -1.25, -2, 1, 0}, {0, 2, 4, -2.5, -5, .5, 1, 0},
      {0, -2, 4, 2.5, -5, -.5, 1, 0},      {0, -1, 0, 5.25, 0, -5.25, 0, 1}};
  static constexpr double kWeights[8][3] = {{1, 0, 0},
                                            {-2. / 9, -2. / 9, -2. / 9},
                                            {-2. / 9, 2. / 9, -2. / 9},
                                            {1. / 90, 1. / 45, 2. / 45},
                                            {1. / 90, -1. / 45, 2. / 45},
                                            {1. / 45, 1. / 90, 1. / 180},
                                            {1. / 45, -1. / 90, 1. / 180},
                                            {0, 0, 1}};
  static constexpr double kOutput[6][8] = {{1, 1, 1, 1, 1, 32, 32, 0}, {0, 1, -1, 2, -2, 16, -16, 0},
                                           {0, 1, 1, 4, 4, 8, 8, 0},   {0, 1, -1, 8, -8, 4, -4, 0},
                                           {0, 1, 1, 16, 16, 2, 2, 0}, {0, 1, -1, 32, -32, 1, -1, 1}};
};

}  // namespace microtome
