// Every operator's implementation for the instruction set of this translation unit.
#pragma once
#include "conv_row_f32/simd.hpp"
#include "head_row_f32/simd.hpp"
#include "image_row_u8/simd.hpp"
#include "load_row_f32/simd.hpp"
#include "probabilities_f32/simd.hpp"
#include "upsample_row_f32/simd.hpp"
#include "winograd_input_f32/simd.hpp"
#include "winograd_output_f32/simd.hpp"
#include "winograd_weights_f32/simd.hpp"
