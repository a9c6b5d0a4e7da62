// Contract of probabilities_i32: the final layer of an integer network on one row, blocked logits in fixed
// point to planar probabilities.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../../core/final_layer.hpp"

namespace microtome {

/// out[c][x] = f(logits of pixel x)[c] for x in [0, width), c in [0, classes), from logits l in units of
/// 1/256:
///   none     l / 256
///   softmax  float(e_c) / float(sum e)     with e_c = exp_table[min(max l - l_c, 4095)]
///   sigmoid  the softmax of l and 0, first of both
/// The sum of the integers e is exact, and its conversion and the division round once each, to nearest even:
/// every CPU gives the same floats.
struct ProbabilityI32Args {
  const std::int32_t* logits;   ///< [ceil(classes / 16)][width][16], |l| <= 2^23
  std::ptrdiff_t block_stride;  ///< logits from one block of 16 classes to the next
  int classes;                  ///< 1..256
  FinalLayer final_layer;
  const std::int32_t* exp_table;  ///< [4096], kExpTable of core/exp_table.hpp
  float* out;                     ///< class c at out + c * plane_stride
  std::ptrdiff_t plane_stride;    ///< floats
  int width;
};

}  // namespace microtome
