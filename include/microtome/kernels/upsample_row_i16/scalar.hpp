// Reference of upsample_row_i16.
#pragma once
#include "../../core/requantize.hpp"
#include "args.hpp"

namespace microtome::scalar {

inline void upsample_row_i16(const UpsampleRowI16Args& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < 16; ++c) {
      std::int32_t v = 0;
      for (int r = 0; r < a.row_count; ++r)
        v += a.row_weight[r] * ((128 - a.fraction[x]) * a.rows[r][a.lo[x] * 16 + c] +
                                a.fraction[x] * a.rows[r][a.hi[x] * 16 + c]);
      a.out[x * 16 + c] = to_act(v, a.m_pos, a.m_neg, a.zero_point);
    }
}

}  // namespace microtome::scalar
