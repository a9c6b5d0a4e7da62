// The tail of the integer convolutions, for the checks of the kernels that have one.
#pragma once
#include <microtome/kernels/int_tail.hpp>

#include <vector>

#include "kernels/check_int.hpp"

namespace microtome_test {

enum class Output { act, raw, raw_and_residual, raw_in_place, logit };
inline constexpr Output kOutputs[] = {Output::act, Output::raw, Output::raw_and_residual,
                                      Output::raw_in_place, Output::logit};

/// A tail for sums up to about `largest`, its arrays and both outputs: the kernel's and the reference's.
/// Outputs and residual have `elements` elements; what is not written must stay.
struct TailCase {
  Guarded<std::int32_t> bias{16};
  Guarded<float> m_pos{16}, m_neg{16};
  Output kind;
  int zero_point;
  Guarded<std::int16_t> residual, got_raw, want_raw;
  Guarded<std::uint8_t> got_act, want_act;
  Guarded<std::int32_t> got_logit, want_logit;

  TailCase(Output output, std::size_t elements, double largest, std::uint32_t seed)
      : kind(output),
        zero_point(std::vector<int>{0, 3, 128, 255}[seed % 4]),
        residual(elements),
        got_raw(elements),
        want_raw(elements),
        got_act(elements),
        want_act(elements),
        got_logit(elements),
        want_logit(elements) {
    // Most results are inside the range, some saturate at either end; one channel overflows an integer.
    const double range = kind == Output::act ? 300.0 : kind == Output::logit ? 1.2e7 : 45000.0;
    for (std::size_t o = 0; o < 16; ++o) {
      bias[o] = static_cast<std::int32_t>((static_cast<int>((seed + o) % 7) - 3) * largest / 20);
      m_pos[o] = static_cast<float>(range / largest * static_cast<double>(1 + (seed + o) % 5) / 3);
      m_neg[o] = m_pos[o] * (seed % 3 == 0 ? 1.0f : seed % 3 == 1 ? 0.01f : 0.0f);
    }
    m_pos[5] = 1e6f;
    m_neg[6] = m_pos[6] = 3e-42f;  // a subnormal number
    m_neg[7] = m_pos[7] = 0.5f;    // ties
    fill_integers(residual, seed, -32768, 32767);
    fill_integers(got_act, seed, 0, 255), copy(got_act, want_act);
    fill_integers(got_logit, seed, -99, 99), copy(got_logit, want_logit);
    copy(residual, got_raw), copy(residual, want_raw);
  }

  IntTail tail(bool reference) {
    IntTail t{};
    t.bias = bias.data(), t.m_pos = m_pos.data(), t.m_neg = m_neg.data(), t.zero_point = zero_point;
    if (kind == Output::act)
      t.act = (reference ? want_act : got_act).data();
    else if (kind == Output::logit)
      t.logit = (reference ? want_logit : got_logit).data();
    else
      t.raw = (reference ? want_raw : got_raw).data();
    if (kind == Output::raw_and_residual) t.residual = residual.data();
    if (kind == Output::raw_in_place) t.residual = t.raw;
    return t;
  }

  void check() {
    CHECK(first_difference(got_act, want_act) == -1);
    CHECK(first_difference(got_raw, want_raw) == -1);
    CHECK(first_difference(got_logit, want_logit) == -1);
  }

 private:
  template <class Array>
  static void copy(Array& from, Array& to) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i];
  }
};

}  // namespace microtome_test
