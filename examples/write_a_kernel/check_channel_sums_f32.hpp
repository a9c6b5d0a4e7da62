// Checks of channel_sums_f32.
#pragma once
#include <cmath>

#include "channel_sums_f32/scalar.hpp"
#include "kernels/check.hpp"

namespace microtome_test {

inline void check_channel_sums_f32(const KernelTable& table) {
  for (int width = 1; width <= 70; ++width) {  // every remainder of every group of pixels
    // Guarded arrays end where a page begins that crashes whoever touches it, or begin behind one.
    Guarded<float> in(static_cast<std::size_t>(width) * 16, width % 2 != 0), got(16), want(16);
    fill_random(in, static_cast<std::uint32_t>(width));
    fill_random(got, 1);  // what was there before must not matter
    ChannelSumsArgs a{in.data(), width, want.data()};
    scalar::channel_sums_f32<double>(a);
    a.sums = got.data();
    table.channel_sums_f32(a);
    INFO(std::string(table.isa), ": width ", width);
    CHECK(difference(got, want) <= 1e-7 * std::sqrt(width + 4.0));  // half an ulp per addition, on average
  }
}

}  // namespace microtome_test
