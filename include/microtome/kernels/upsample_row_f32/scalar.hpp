// Reference of upsample_row_f32.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void upsample_row_f32(const UpsampleRowArgs& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < 16; ++c) {
      Acc left = 0, right = 0;
      for (int r = 0; r < a.row_count; ++r) {
        left += static_cast<Acc>(a.row_weight[r]) * a.rows[r][a.lo[x] * 16 + c];
        right += static_cast<Acc>(a.row_weight[r]) * a.rows[r][a.hi[x] * 16 + c];
      }
      Acc v = left + static_cast<Acc>(a.fraction[x]) * (right - left);
      if (v < 0) v *= static_cast<Acc>(a.slope);
      a.out[x * 16 + c] = static_cast<float>(v);
    }
}

}  // namespace microtome::scalar
