// Reference of image_row_i16.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

inline void image_row_i16(const ImageRowI16Args& a) {
  for (int x = 0; x < a.width; ++x)
    for (int c = 0; c < 16; ++c)
      a.out[x * 16 + c] =
          static_cast<std::int16_t>(c < a.channels ? a.table[c * 256 + a.in[x * a.channels + c]] : 0);
}

}  // namespace microtome::scalar
