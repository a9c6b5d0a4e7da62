// What the check of every kernel shares. A check runs one kernel of `table` and its scalar reference in
// double on odd shapes, with every array ending at a guard page.
#pragma once
#include <doctest.h>
#include <microtome/kernels/kernel_table.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "guarded.hpp"

namespace microtome_test {

using namespace microtome;  // the kernels' arguments and references

/// The largest difference, relative to the largest reference value (at least 1); infinite for a NaN.
template <class A, class B>
double difference(A& got, B& want) {
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (!(got[i] == got[i])) return INFINITY;
    worst = std::max(worst, static_cast<double>(std::fabs(got[i] - want[i])));
    scale = std::max(scale, static_cast<double>(std::fabs(want[i])));
  }
  return worst / scale;
}

}  // namespace microtome_test
