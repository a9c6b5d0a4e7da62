#include <doctest.h>
#include <microtome/io/json.hpp>

#include <string>

using microtome::InputError;
using microtome::JsonReader;
using microtome::JsonValue;

namespace {
JsonValue parse(const std::string& text) {
  return JsonReader::parse(text, "f", "x");
}
}  // namespace

TEST_CASE("values come back as written") {
  const JsonValue v =
      parse(R"( {"a": [1, -2.5e1, true, null, "q\"\u00e9\ud83d\ude00\n"], "b": {}, "c": 9007199254740993} )");
  REQUIRE(v.kind == JsonValue::Kind::object);
  const JsonValue& a = *v.find("a");
  CHECK(a.array[0].integer == 1);
  CHECK(a.array[0].is_integer);
  CHECK(a.array[1].number == -25.0);
  CHECK(!a.array[1].is_integer);
  CHECK(a.array[2].boolean);
  CHECK(a.array[3].kind == JsonValue::Kind::null);
  CHECK(a.array[4].string == "q\"\xc3\xa9\xf0\x9f\x98\x80\n");
  CHECK(v.find("c")->integer == 9007199254740993);  // more than a double holds
  CHECK(v.find("missing") == nullptr);
}

TEST_CASE("everything that is not JSON is refused with its position") {
  for (const char* bad : {"",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{\"a\":1,\"a\":2}",
                          "01",
                          "1.",
                          ".5",
                          "-",
                          "+1",
                          "1e",
                          "tru",
                          "nul",
                          "\"",
                          "\"\\x\"",
                          "\"\\u12g4\"",
                          "\"\\ud800\"",
                          "\"\\udc00\"",
                          "\"\t\"",
                          "[1] 2",
                          "{1:2}",
                          "[1 2]",
                          "{\"a\" 1}",
                          "NaN",
                          "Infinity",
                          "1e999",
                          "'a'",
                          "[\"\\ud800\\u0041\"]"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(parse(bad), doctest::Contains("invalid JSON at byte"), InputError);
  }
}

TEST_CASE("nesting is bounded") {
  CHECK_NOTHROW(parse(std::string(60, '[') + std::string(60, ']')));
  CHECK_THROWS_AS(parse(std::string(100000, '[')), InputError);
}
