// A strict JSON reader for small trusted-by-nobody texts: safetensors headers and model metadata.
// RFC 8259, plus: duplicate keys are an error, nesting and element counts are bounded, numbers that are
// written as integers keep 64 bits. Strings come back as UTF-8.
#pragma once
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../core/error.hpp"

namespace microtome {

/// One JSON value. Objects keep their order; lookup is linear.
struct JsonValue {
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0.0;
  bool is_integer = false;  ///< written without fraction or exponent and representable in 64 bits
  std::int64_t integer = 0;
  std::string string;
  std::vector<JsonValue> array;
  std::vector<std::pair<std::string, JsonValue>> object;
  std::size_t begin = 0, end = 0;  ///< bytes of the text it was read from

  const JsonValue* find(std::string_view key) const {
    for (const auto& [k, v] : object)
      if (k == key) return &v;
    return nullptr;
  }
};

class JsonReader {
 public:
  /// Parses exactly one value; only whitespace may follow. Throws InputError(file, field, ...) with the byte
  /// position of the fault.
  static JsonValue parse(std::string_view text, const std::string& file, const std::string& field) {
    JsonReader r(text, file, field);
    JsonValue v = r.value(0);
    r.space();
    if (r.at_ != text.size()) r.fail("unexpected text after the value");
    return v;
  }

 private:
  static constexpr int kMaxDepth = 64;
  static constexpr std::size_t kMaxValues = 1000000;

  JsonReader(std::string_view text, const std::string& file, const std::string& field)
      : text_(text), file_(file), field_(field) {}

  [[noreturn]] void fail(const std::string& why) const {
    throw InputError(file_, field_, "invalid JSON at byte " + std::to_string(at_) + ": " + why);
  }
  bool done() const { return at_ >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  void space() {
    while (!done() && std::strchr(" \t\r\n", text_[at_]) && text_[at_] != '\0') ++at_;
  }
  void expect(char c) {
    if (done() || text_[at_] != c) fail(std::string("'") + c + "' expected");
    ++at_;
  }

  JsonValue value(int depth) {
    space();
    const std::size_t begin = at_;
    JsonValue v = any(depth);
    v.begin = begin;
    v.end = at_;
    return v;
  }

  JsonValue any(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    if (++values_ > kMaxValues) fail("too many values");
    JsonValue v;
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        v.kind = JsonValue::Kind::string;
        v.string = string();
        return v;
      case 't':
        return word("true", JsonValue::Kind::boolean, true);
      case 'f':
        return word("false", JsonValue::Kind::boolean, false);
      case 'n':
        return word("null", JsonValue::Kind::null, false);
      default:
        return number();
    }
  }

  JsonValue word(std::string_view w, JsonValue::Kind kind, bool flag) {
    if (text_.substr(at_, w.size()) != w) fail("unknown word");
    at_ += w.size();
    JsonValue v;
    v.kind = kind;
    v.boolean = flag;
    return v;
  }

  JsonValue object(int depth) {
    JsonValue v;
    v.kind = JsonValue::Kind::object;
    expect('{');
    space();
    if (peek() == '}') return ++at_, v;
    std::unordered_set<std::string> seen;
    for (;;) {
      space();
      std::string key = string();
      if (!seen.insert(key).second) fail("key '" + key + "' appears twice");
      space();
      expect(':');
      v.object.emplace_back(std::move(key), value(depth + 1));
      space();
      if (peek() == '}') return ++at_, v;
      expect(',');
    }
  }

  JsonValue array(int depth) {
    JsonValue v;
    v.kind = JsonValue::Kind::array;
    expect('[');
    space();
    if (peek() == ']') return ++at_, v;
    for (;;) {
      v.array.push_back(value(depth + 1));
      space();
      if (peek() == ']') return ++at_, v;
      expect(',');
    }
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("four hexadecimal digits expected");
      code = code * 16 + static_cast<unsigned>(digit);
      ++at_;
    }
    return code;
  }

  static void append_utf8(std::string& s, unsigned c) {
    const auto put = [&](unsigned b) { s.push_back(static_cast<char>(b)); };
    if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xc0 | c >> 6), put(0x80 | (c & 63));
    } else if (c < 0x10000) {
      put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    } else {
      put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    }
  }

  std::string string() {
    expect('"');
    std::string s;
    for (;;) {
      if (done()) fail("unterminated string");
      const char c = text_[at_++];
      if (c == '"') return s;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c != '\\') {
        s.push_back(c);
        continue;
      }
      if (done()) fail("unterminated string");
      switch (text_[at_++]) {
        case '"':
          s.push_back('"');
          break;
        case '\\':
          s.push_back('\\');
          break;
        case '/':
          s.push_back('/');
          break;
        case 'b':
          s.push_back('\b');
          break;
        case 'f':
          s.push_back('\f');
          break;
        case 'n':
          s.push_back('\n');
          break;
        case 'r':
          s.push_back('\r');
          break;
        case 't':
          s.push_back('\t');
          break;
        case 'u': {
          unsigned code = hex4();
          if (code >= 0xdc00 && code < 0xe000) fail("lone low surrogate");
          if (code >= 0xd800 && code < 0xdc00) {
            if (text_.substr(at_, 2) != "\\u") fail("lone high surrogate");
            at_ += 2;
            const unsigned low = hex4();
            if (low < 0xdc00 || low >= 0xe000) fail("lone high surrogate");
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          }
          append_utf8(s, code);
          break;
        }
        default:
          fail("unknown escape");
      }
    }
  }

  JsonValue number() {
    const std::size_t begin = at_;
    const auto digits = [&] {
      const std::size_t from = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      if (at_ == from) fail("a value expected");
    };
    JsonValue v;
    v.kind = JsonValue::Kind::number;
    v.is_integer = true;
    if (peek() == '-') ++at_;
    const bool zero = peek() == '0';
    const std::size_t first = at_;
    digits();
    if (zero && at_ - first > 1) fail("number with a leading zero");
    if (peek() == '.') {
      v.is_integer = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      v.is_integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const char* from = text_.data() + begin;
    const char* to = text_.data() + at_;
    if (std::from_chars(from, to, v.number).ec != std::errc()) fail("number out of range");
    if (v.is_integer && std::from_chars(from, to, v.integer).ec != std::errc()) v.is_integer = false;
    return v;
  }

  std::string_view text_;
  const std::string& file_;
  const std::string& field_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
};

}  // namespace microtome
