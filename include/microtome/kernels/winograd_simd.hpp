// One dimension of the three Winograd transforms on vectors: the matrices of kernels/winograd.hpp with their
// common terms taken out.
#pragma once
#include "simd.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

template <int M>
struct Winograd;

template <>
struct Winograd<4> {
  /// d <- B^T d
  static inline void input(Vec (&d)[6]) {
    const Vec even = multiply_add(Vec(-4.0f), d[2], d[4]), odd = multiply_add(Vec(-4.0f), d[1], d[3]);
    const Vec even2 = d[4] - d[2], odd2 = d[3] - d[1];
    const Vec first = multiply_add(Vec(4.0f), d[0], multiply_add(Vec(-5.0f), d[2], d[4]));
    const Vec last = multiply_add(Vec(4.0f), d[1], multiply_add(Vec(-5.0f), d[3], d[5]));
    d[0] = first;
    d[1] = even + odd;
    d[2] = even - odd;
    d[3] = multiply_add(Vec(2.0f), odd2, even2);
    d[4] = multiply_add(Vec(-2.0f), odd2, even2);
    d[5] = last;
  }
  /// u = G g
  static inline void weights(Vec g0, Vec g1, Vec g2, Vec (&u)[6]) {
    const Vec outer = Vec(-1.0f / 6) * (g0 + g2), inner = Vec(1.0f / 6) * g1;
    const Vec outer2 = multiply_add(Vec(1.0f / 24), g0, Vec(1.0f / 6) * g2), inner2 = Vec(1.0f / 12) * g1;
    u[0] = Vec(0.25f) * g0;
    u[1] = outer - inner;
    u[2] = outer + inner;
    u[3] = outer2 + inner2;
    u[4] = outer2 - inner2;
    u[5] = g2;
  }
  /// m[0..3] <- A^T m
  static inline void output(Vec (&m)[6]) {
    const Vec sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    m[0] = m[0] + sum + sum2;
    m[1] = multiply_add(Vec(2.0f), difference2, difference);
    m[2] = multiply_add(Vec(4.0f), sum2, sum);
    m[3] = multiply_add(Vec(8.0f), difference2, difference) + m[5];
  }
};

template <>
struct Winograd<6> {
  static inline void input(Vec (&d)[8]) {
    const Vec first = multiply_add(Vec(5.25f), d[4] - d[2], d[0] - d[6]);
    const Vec last = multiply_add(Vec(5.25f), d[3] - d[5], d[7] - d[1]);
    const Vec even = multiply_add(Vec(-4.25f), d[4], d[2] + d[6]);
    const Vec odd = multiply_add(Vec(-4.25f), d[3], d[1] + d[5]);
    const Vec even2 = multiply_add(Vec(0.25f), d[2], multiply_add(Vec(-1.25f), d[4], d[6]));
    const Vec odd2 = multiply_add(Vec(0.5f), d[1], multiply_add(Vec(-2.5f), d[3], Vec(2.0f) * d[5]));
    const Vec even3 = multiply_add(Vec(4.0f), d[2], multiply_add(Vec(-5.0f), d[4], d[6]));
    const Vec odd3 = multiply_add(Vec(2.0f), d[1], multiply_add(Vec(-2.5f), d[3], Vec(0.5f) * d[5]));
    d[0] = first;
    d[1] = even + odd;
    d[2] = even - odd;
    d[3] = even2 + odd2;
    d[4] = even2 - odd2;
    d[5] = even3 + odd3;
    d[6] = even3 - odd3;
    d[7] = last;
  }
  static inline void weights(Vec g0, Vec g1, Vec g2, Vec (&u)[8]) {
    const Vec outer = Vec(-2.0f / 9) * (g0 + g2), inner = Vec(2.0f / 9) * g1;
    const Vec outer2 = multiply_add(Vec(1.0f / 90), g0, Vec(2.0f / 45) * g2), inner2 = Vec(1.0f / 45) * g1;
    const Vec outer3 = multiply_add(Vec(1.0f / 45), g0, Vec(1.0f / 180) * g2), inner3 = Vec(1.0f / 90) * g1;
    u[0] = g0;
    u[1] = outer - inner;
    u[2] = outer + inner;
    u[3] = outer2 + inner2;
    u[4] = outer2 - inner2;
    u[5] = outer3 + inner3;
    u[6] = outer3 - inner3;
    u[7] = g2;
  }
  static inline void output(Vec (&m)[8]) {
    const Vec sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    const Vec sum3 = m[5] + m[6], difference3 = m[5] - m[6];
    m[0] = m[0] + sum + multiply_add(Vec(32.0f), sum3, sum2);
    m[1] = multiply_add(Vec(16.0f), difference3, multiply_add(Vec(2.0f), difference2, difference));
    m[2] = multiply_add(Vec(8.0f), sum3, multiply_add(Vec(4.0f), sum2, sum));
    m[3] = multiply_add(Vec(4.0f), difference3, multiply_add(Vec(8.0f), difference2, difference));
    m[4] = multiply_add(Vec(2.0f), sum3, multiply_add(Vec(16.0f), sum2, sum));
    m[5] = multiply_add(Vec(32.0f), difference2, difference) + difference3 + m[7];
  }
};

}  // namespace
}  // namespace microtome::MICROTOME_ISA
