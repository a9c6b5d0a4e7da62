// Reference of the tail of the integer convolutions.
#pragma once
#include <cstddef>

#include "../core/requantize.hpp"
#include "int_tail.hpp"

namespace microtome::scalar {

/// Output channel o of the pixel `out` elements into the output and `residual` elements into the residual.
inline void int_tail(const IntTail& t, std::int32_t sum, int o, std::ptrdiff_t out, std::ptrdiff_t residual) {
  const std::int32_t v = wrapping_add(sum, t.bias[o]);
  if (t.act) t.act[out + o] = to_act(v, t.m_pos[o], t.m_neg[o], t.zero_point);
  if (t.raw) t.raw[out + o] = to_raw(v, t.m_pos[o], t.residual ? t.residual[residual + o] : std::int16_t{0});
  if (t.logit) t.logit[out + o] = to_logit(v, t.m_pos[o]);
}

}  // namespace microtome::scalar
