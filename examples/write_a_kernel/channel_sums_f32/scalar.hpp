// Reference of channel_sums_f32, in the accumulator type of the caller's choice (tests use double). As close
// to the formula as code can be: this file defines what is right, so it must be obviously right.
#pragma once
#include "args.hpp"

namespace microtome::scalar {

template <class Acc>
void channel_sums_f32(const ChannelSumsArgs& a) {
  for (int c = 0; c < 16; ++c) {
    Acc sum = 0;
    for (int x = 0; x < a.width; ++x) sum += a.in[x * 16 + c];
    a.sums[c] = static_cast<float>(sum);
  }
}

}  // namespace microtome::scalar
