// What a fuzz target is: one function that must survive any bytes, and valid inputs to start mutating from.
// Linked with replay.cpp (any compiler, run by ctest) or with libFuzzer (preset `fuzz`).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

/// Returns 0 when the input was read or refused by a microtome::Error; anything else ends the process.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace microtome_fuzz {

/// Small inputs that the target accepts.
std::vector<std::string> seeds();

/// A property that must hold for accepted input. Works in every build type, unlike assert().
inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: violated: %s\n", what);
  std::abort();
}

/// `n` as `bytes` little-endian bytes.
inline std::string little_endian(std::uint64_t n, int bytes) {
  std::string s;
  for (int i = 0; i < bytes; ++i) s.push_back(static_cast<char>(n >> (8 * i) & 255));
  return s;
}

}  // namespace microtome_fuzz
