// Text from outside on its way to a terminal or a log; names of files.
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

/// The part of a path after the last '/': reports name files, not the folders of the machine.
inline std::string file_name(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);
}

/// The file name without its last extension: "dir/a.svs" -> "a".
inline std::string file_stem(const std::string& path) {
  const std::string name = file_name(path);
  const std::size_t dot = name.find_last_of('.');
  return dot == 0 || dot == std::string::npos ? name : name.substr(0, dot);
}

}  // namespace microtome
