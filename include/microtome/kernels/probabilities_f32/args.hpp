// Contract of probabilities_f32: the network's final layer on one row, blocked logits to planar
// probabilities.
#pragma once
#include <cstddef>

#include "../../core/final_layer.hpp"

namespace microtome {

/// out[c][x] = f(logits of pixel x)[c] for x in [0, width), c in [0, classes):
///   none     the logit itself
///   sigmoid  1 / (1 + exp(-multiplier * logit))      (GaNDLF: model.sigmoid_input_multiplier)
///   softmax  exp(l_c - max l) / sum exp(l - max l)    over the classes
struct ProbabilityArgs {
  const float* logits;          ///< [ceil(classes / 16)][width][16]
  std::ptrdiff_t block_stride;  ///< floats from one block of 16 classes to the next
  int classes;                  ///< at least 1
  FinalLayer final_layer;
  float multiplier;             ///< sigmoid only
  float* out;                   ///< class c at out + c * plane_stride
  std::ptrdiff_t plane_stride;  ///< floats
  int width;
};

}  // namespace microtome
