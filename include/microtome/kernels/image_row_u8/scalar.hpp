// Reference of image_row_u8.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void image_row_u8(const ImageRowArgs& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < a.channels; ++c)
      a.out[x * 16 + c] =
          static_cast<float>(static_cast<Acc>(a.in[x * a.channels + c]) * a.scale[c] + a.shift[c]);
}

}  // namespace microtome::scalar
