// Deterministic weights made from an integer hash, so that a reference output can be stored without its
// weights. Tensor number t (order of GaNDLF's state_dict, counters included) and flat element i give u in [0,
// 1):
//   h = i * 0x9E3779B1 + t * 0x85EBCA77; h ^= h >> 15; h *= 0x2C1B3C6D; h ^= h >> 12; h *= 0x297A2D39; h ^= h
//   >> 15 u = h / 2^32
// running_var = 0.5 + u, running_mean = 0.2 (u - 0.5), norm weight = 0.5 + u, biases = 0.2 (u - 0.5),
// convolution weight = 2 (u - 0.5) sqrt(3 / fan_in).
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "io/safetensors_file.hpp"

namespace microtome_test {

inline double hash_unit(std::uint32_t t, std::uint32_t i) {
  std::uint32_t h = i * 0x9E3779B1u + t * 0x85EBCA77u;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  h ^= h >> 12;
  h *= 0x297A2D39u;
  h ^= h >> 15;
  return static_cast<double>(h) / 4294967296.0;
}

/// [0, 1) values with t = 1000: the reference input.
inline std::vector<float> hash_input(std::size_t n) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i)
    v[i] = static_cast<float>(hash_unit(1000, static_cast<std::uint32_t>(i)));
  return v;
}

struct NetShape {
  int rank = 2, base = 4, channels = 3, classes = 2;
  bool norm_before_down = true;
};

/// The state_dict of a unet or resunet (same tensors) with hash weights.
class HashNet {
 public:
  explicit HashNet(const NetShape& s) : shape_(s) {
    const int f = s.base;
    conv("ins.conv0", f, s.channels, 3), conv("ins.conv1", f, f, 3), conv("ins.conv2", f, f, 3);
    norm("ins.in_0", f), norm("ins.in_1", f);
    for (int k = 0; k < 4; ++k) {
      const std::string ds = "ds_" + std::to_string(k), en = "en_" + std::to_string(k + 1);
      const int c = f << k;
      norm(ds + ".in_0", s.norm_before_down ? c : 2 * c);
      conv(ds + ".conv0", 2 * c, c, 3);
      norm(en + ".in_0", 2 * c), norm(en + ".in_1", 2 * c);
      conv(en + ".conv0", 2 * c, 2 * c, 3), conv(en + ".conv1", 2 * c, 2 * c, 3);
    }
    for (int k = 3; k >= 0; --k) {
      const std::string us = "us_" + std::to_string(k), de = "de_" + std::to_string(k);
      const int c = f << k, o = k == 0 ? 2 * f : c;
      conv(us + ".conv0", c, 2 * c, 1);
      conv(de + ".conv0", o, 2 * c, 3), conv(de + ".conv1", o, o, 3), conv(de + ".conv2", o, o, 3);
      norm(de + ".in_0", 2 * c), norm(de + ".in_1", o), norm(de + ".in_2", o);
    }
    conv("out.conv0", s.classes, 2 * f, 3);
    norm("out.in_0", 2 * f);
  }

  SafeTensorsFile file;

 private:
  template <class F>
  void tensor(const std::string& name, const std::vector<std::int64_t>& shape, F&& value) {
    std::size_t n = 1;
    for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
    std::vector<float> v(n);
    for (std::size_t i = 0; i < n; ++i)
      v[i] = static_cast<float>(value(hash_unit(next_, static_cast<std::uint32_t>(i))));
    file.add(name, shape, v);
    ++next_;
  }
  void conv(const std::string& name, int out, int in, int k) {
    std::vector<std::int64_t> shape = {out, in};
    double fan_in = in;
    for (int d = 0; d < shape_.rank; ++d) shape.push_back(k), fan_in *= k;
    const double bound = std::sqrt(3.0 / fan_in);
    tensor(name + ".weight", shape, [&](double u) { return (u - 0.5) * 2.0 * bound; });
    tensor(name + ".bias", {out}, [](double u) { return (u - 0.5) * 0.2; });
  }
  void norm(const std::string& name, int c) {
    tensor(name + ".weight", {c}, [](double u) { return 0.5 + u; });
    tensor(name + ".bias", {c}, [](double u) { return (u - 0.5) * 0.2; });
    tensor(name + ".running_mean", {c}, [](double u) { return (u - 0.5) * 0.2; });
    tensor(name + ".running_var", {c}, [](double u) { return 0.5 + u; });
    const std::int64_t batches = 0;
    file.add_raw(name + ".num_batches_tracked", "I64", {}, &batches, sizeof batches);
    ++next_;
  }

  NetShape shape_;
  std::uint32_t next_ = 0;
};

}  // namespace microtome_test
