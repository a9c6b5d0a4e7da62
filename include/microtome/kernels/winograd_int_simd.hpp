// One dimension of the integer Winograd transforms on vectors: the matrices of kernels/winograd_int.hpp with
// their common terms taken out.
#pragma once
#include "simd_int.hpp"

namespace microtome::MICROTOME_ISA {
namespace {

struct WinogradInt {
  /// d <- B^T d
  static inline void input(Shorts (&d)[6]) {
    const Shorts even = d[4] - shift_left<2>(d[2]), odd = d[3] - shift_left<2>(d[1]);
    const Shorts even2 = d[4] - d[2], odd2 = shift_left<1>(d[3] - d[1]);
    const Shorts last = d[5] - d[3] - shift_left<1>(odd2);
    d[0] = shift_left<2>(d[0]) - d[2] + even;
    d[1] = even + odd;
    d[2] = even - odd;
    d[3] = even2 + odd2;
    d[4] = even2 - odd2;
    d[5] = last;
  }
  /// u = G g
  static inline void weights(Shorts g0, Shorts g1, Shorts g2, Shorts (&u)[6]) {
    const Shorts outer = g0 + g2, outer2 = g0 + shift_left<2>(g2), inner2 = shift_left<1>(g1);
    u[0] = g0;
    u[1] = outer + g1;
    u[2] = outer - g1;
    u[3] = outer2 + inner2;
    u[4] = outer2 - inner2;
    u[5] = g2;
  }
  /// m[0..3] <- A^T m
  static inline void output(Ints (&m)[6]) {
    const Ints sum = shift_left<2>(m[1] + m[2]), difference = shift_left<2>(m[1] - m[2]);
    const Ints sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    const Ints last = shift_left<4>(m[5]) + shift_left<3>(m[5]);
    m[0] = shift_left<2>(m[0]) + shift_left<1>(m[0]) + sum2 - sum;
    m[1] = shift_left<1>(difference2) - difference;
    m[2] = shift_left<2>(sum2) - sum;
    m[3] = shift_left<3>(difference2) - difference + last;
  }
};

}  // namespace
}  // namespace microtome::MICROTOME_ISA
