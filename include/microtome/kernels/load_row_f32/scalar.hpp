// Reference of load_row_f32.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void load_row_f32(const LoadRowArgs& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < 16; ++c) {
      Acc v = static_cast<Acc>(a.in[x * 16 + c]) * a.scale[c] + a.shift[c];
      if (v < 0) v *= static_cast<Acc>(a.slope);
      a.out[x * 16 + c] = static_cast<float>(v);
    }
}

}  // namespace microtome::scalar
