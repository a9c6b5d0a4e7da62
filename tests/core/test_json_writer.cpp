#include <doctest.h>

#include <cmath>

#include "microtome/core/json_writer.hpp"
#include "microtome/io/json.hpp"

using microtome::json_string;

TEST_CASE("strings are escaped, and bytes that are not UTF-8 are replaced") {
  CHECK(json_string("a\"b\\c") == R"("a\"b\\c")");
  CHECK(json_string("\n\x1b\x7f") == R"("\u000a\u001b\u007f")");
  CHECK(json_string("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\xac") ==
        "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\xac\"");
  CHECK(json_string("\xe4rzte") == R"("\ufffdrzte")");              // Latin-1
  CHECK(json_string("\xc3") == R"("\ufffd")");                      // cut off
  CHECK(json_string("\xc0\xaf") == R"("\ufffd\ufffd")");            // overlong
  CHECK(json_string("\xed\xa0\x80") == R"("\ufffd\ufffd\ufffd")");  // surrogate
  CHECK(json_string("\xf4\x90\x80\x80") == R"("\ufffd\ufffd\ufffd\ufffd")");
}

TEST_CASE("a document comes back as it was written") {
  microtome::JsonWriter j;
  j.open_object();
  j.field("text", "x\"y");
  j.field("whole", std::uint64_t{1} << 52);
  j.field("real", 0.499);
  j.field("flag", true);
  j.field("nothing", std::nan(""));
  j.field_or_null("unknown", 0.0);
  j.open_array("list");
  j.item(1);
  j.open_object();
  j.field("inner", 2);
  j.close();
  j.open_array();
  j.close();
  j.close();
  j.open_object("empty");
  j.close();
  j.close();
  const microtome::JsonValue v = microtome::JsonReader::parse(j.text(), "file", "");
  REQUIRE(v.kind == microtome::JsonValue::Kind::object);
  CHECK(v.find("text")->string == "x\"y");
  CHECK(v.find("whole")->integer == std::int64_t{1} << 52);
  CHECK(v.find("real")->number == 0.499);
  CHECK(v.find("nothing")->kind == microtome::JsonValue::Kind::null);
  CHECK(v.find("unknown")->kind == microtome::JsonValue::Kind::null);
  REQUIRE(v.find("list")->array.size() == 3);
  CHECK(v.find("list")->array[1].find("inner")->integer == 2);
  CHECK(v.find("empty")->object.empty());
}
