// Writes JSON text, indented, without a JSON library: reports are small and their shape is known.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>

namespace microtome {

/// `s` as a JSON string. Bytes that are not UTF-8 (file names may hold any) become U+FFFD.
inline std::string json_string(const std::string& s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  std::string out = "\"";
  for (std::size_t i = 0; i < s.size();) {
    const unsigned c = byte(i);
    // Length of a well-formed UTF-8 sequence at i (Unicode 15, table 3-7), 0 if there is none.
    std::size_t n = c < 0x80                ? 1
                    : c >= 0xc2 && c < 0xe0 ? 2
                    : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4
                                            : 0;
    for (std::size_t k = 1; k < n; ++k)
      if ((byte(i + k) & 0xc0) != 0x80) n = 0;
    const unsigned next = byte(i + 1);
    if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
        (c == 0xf4 && next > 0x8f))
      n = 0;
    if (n == 0) {
      out += "\\ufffd";
      ++i;
    } else if (c < 0x20 || c == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
      ++i;
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out.append(s, i, n);
      i += n;
    }
  }
  return out + '"';
}

/// Builds one document: objects and arrays are opened and closed, everything else is one call.
///   JsonWriter j;  j.open_object();  j.field("levels", 3);  j.open_array("names");  j.item("a");  ...
class JsonWriter {
 public:
  void open_object(const std::string& key = {}) { open(key, '{'); }
  void open_array(const std::string& key = {}) { open(key, '['); }
  void close() {
    indent_.resize(indent_.size() - 2);
    if (!first_) newline();
    first_ = false;
    text_ += closers_.back();
    closers_.pop_back();
  }

  template <class T>
  void field(const std::string& key, const T& value) {
    separate();
    text_ += json_string(key) + ": " + format(value);
  }
  template <class T>
  void item(const T& value) {
    separate();
    text_ += format(value);
  }
  /// null unless value > 0: sizes and scales of which 0 means unknown.
  void field_or_null(const std::string& key, double value) {
    separate();
    text_ += json_string(key) + ": " + (value > 0.0 ? format(value) : "null");
  }

  std::string text() const { return text_ + "\n"; }

 private:
  template <class T>
  static std::string format(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value ? "true" : "false";
    } else if constexpr (std::is_integral_v<T>) {
      return std::to_string(value);
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) return "null";
      char number[40];
      std::snprintf(number, sizeof number, "%.9g", static_cast<double>(value));
      for (char& c : number)
        if (c == ',') c = '.';  // a caller's locale may want a comma
      return number;
    } else {
      return json_string(value);
    }
  }

  void open(const std::string& key, char bracket) {
    if (!closers_.empty()) separate();
    if (!key.empty()) text_ += json_string(key) + ": ";
    text_ += bracket;
    closers_ += bracket == '{' ? '}' : ']';
    indent_ += "  ";
    first_ = true;
  }
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
    newline();
  }
  void newline() { text_ += '\n' + indent_; }

  std::string text_, indent_, closers_;
  bool first_ = true;
};

}  // namespace microtome
