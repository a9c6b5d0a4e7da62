// Reference of load_row_i16.
#pragma once
#include "../../core/requantize.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void load_row_i16(const LoadRowI16Args& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < 16; ++c) {
      const std::int32_t v = a.in[x * 16 + c] * a.factor[c] + a.term[c];
      a.out[x * 16 + c] = to_act(v, a.m_pos, a.m_neg, a.zero_point);
    }
}

}  // namespace microtome::scalar
