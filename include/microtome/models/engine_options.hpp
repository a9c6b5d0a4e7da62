// What of the engine can be switched off or chosen by hand, to measure what it is worth.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../layers/conv.hpp"

namespace microtome {

/// How a network is built. The default is the product; `microtome bench --ablate` switches one thing off at a
/// time. Whatever is off, the results agree but for rounding.
struct EngineOptions {
  bool fold_norms = true;          ///< off: norms are passes over the result of the convolution before them
  bool fused_activation = true;    ///< off: so are the activations behind convolutions
  bool fused_residual = true;      ///< off: a convolution's result is written, then added to the residual
  bool zero_copy_concat = true;    ///< off: both sources are written into one tensor first
  bool fused_prologue = true;      ///< off: what happens on load is written to memory first
  bool low_resolution_1x1 = true;  ///< off: tensors are enlarged before the 1x1 convolution, not behind it
  bool blocked_layout = true;      ///< off: tensors are planar, converted around every convolution
  bool winograd = true;            ///< off: direct convolutions
  bool depth_first = true;         ///< off: no bands at full resolution

  /// Side of the images that algorithms are chosen for, pixels, whatever their size; 0: the model's patch.
  std::int64_t side = 0;

  /// Algorithms by layer name in place of the cost model's choice.
  std::map<std::string, ConvAlgorithm> algorithms;

  /// Whether nothing needs a pass of its own over memory.
  bool fused() const {
    return fold_norms && fused_activation && fused_residual && zero_copy_concat && fused_prologue &&
           blocked_layout;
  }
};

/// A switch of EngineOptions and its name in reports.
struct EngineSwitch {
  const char* name;
  bool EngineOptions::*on;
  bool integers = false;  ///< whether integer networks have it, too; they are always fused
};

inline constexpr EngineSwitch kEngineSwitches[] = {
    {"norm folding", &EngineOptions::fold_norms},
    {"fused activation", &EngineOptions::fused_activation},
    {"fused residual", &EngineOptions::fused_residual},
    {"zero-copy concat", &EngineOptions::zero_copy_concat},
    {"fused prologue", &EngineOptions::fused_prologue},
    {"1x1 before upsampling", &EngineOptions::low_resolution_1x1},
    {"blocked layout", &EngineOptions::blocked_layout},
    {"winograd", &EngineOptions::winograd, true},
    {"depth-first", &EngineOptions::depth_first, true},
};

}  // namespace microtome
