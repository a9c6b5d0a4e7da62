// Reference of widen_row_u8.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

inline void widen_row_u8(const WidenRowArgs& a) {
  for (int i = 0; i < a.width * 16; ++i) a.out[i] = a.in[i];
}

}  // namespace microtome::scalar
