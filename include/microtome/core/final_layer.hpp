// What turns a network's last values into probabilities: shared by model files and kernels.
#pragma once

namespace microtome {

enum class FinalLayer { none, sigmoid, softmax };

}  // namespace microtome
