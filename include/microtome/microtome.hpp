// The umbrella header: everything an embedding program needs to load weights and run images.
// Slides and outputs live in microtome/slide/ and microtome/pipeline/ (they need libtiff, libjpeg and zlib).
#pragma once
#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/tensor.hpp"
#include "io/model_info.hpp"
#include "io/safetensors.hpp"
#include "kernels/kernel_table.hpp"
#include "models/model.hpp"
#include "version.hpp"
