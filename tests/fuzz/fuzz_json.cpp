// JSON: any text is either refused at a byte inside it or read into values that stay within the stated
// limits.
#include "fuzz.hpp"
#include "microtome/io/json.hpp"

namespace {

using microtome::JsonValue;

std::size_t count(const JsonValue& v, int depth) {
  microtome_fuzz::require(depth <= 65, "nesting is bounded");
  std::size_t n = 1;
  for (const auto& e : v.array) n += count(e, depth + 1);
  for (const auto& [key, e] : v.object) {
    microtome_fuzz::require(v.find(key) == &e, "keys are unique");
    n += count(e, depth + 1);
  }
  return n;
}

}  // namespace

std::vector<std::string> microtome_fuzz::seeds() {
  return {R"({"a": [1, -2.5e3, true, false, null], "b": {"c": "d\n\u00e9\ud83d\ude00"}, "": {}})",
          R"([9223372036854775807, -9223372036854775808, 1e308, 0.1, -0, [[[[[]]]]], {}])", R"("text")",
          "  12  "};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const JsonValue v = microtome::JsonReader::parse(text, "input", "field");
    if (size < 4096)
      microtome_fuzz::require(count(v, 0) <= size, "every value takes at least a byte of text");
  } catch (const microtome::InputError& e) {
    microtome_fuzz::require(e.file() == "input" && e.field() == "field", "errors name file and field");
  }
  return 0;
}
