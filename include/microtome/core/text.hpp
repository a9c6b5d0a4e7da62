// Text from outside on its way to a terminal or a log.
#pragma once
#include <cstddef>
#include <string>

namespace microtome {

/// `s` with a '?' for every control character: file names, tags and class names may hold line ends and
/// terminal escape sequences. Besides ASCII 0-31 and 127 these are U+0080-U+009F, which UTF-8 writes as C2 80
/// to C2 9F (U+009B begins a sequence like ESC [).
inline std::string printable(std::string s) {
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c < 0x20 || c == 0x7f) s[i] = '?';
    if (c != 0xc2 || i + 1 == s.size()) continue;
    const auto next = static_cast<unsigned char>(s[i + 1]);
    if (next >= 0x80 && next < 0xa0) s[i] = s[i + 1] = '?';
  }
  return s;
}

}  // namespace microtome
