#include <doctest.h>
#include <microtome/io/safetensors.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "safetensors_file.hpp"
#include "test_data.hpp"

using microtome::InputError;
using microtome::SafeTensors;
using microtome_test::SafeTensorsFile;

namespace {

SafeTensors open(const std::string& bytes) {
  return SafeTensors(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "m.safetensors");
}

std::string with_header(const std::string& header, std::size_t data) {
  return SafeTensorsFile::wrap(header, std::string(data, '\0'));
}

}  // namespace

TEST_CASE("tensors of every float type are widened, others are validated and left alone") {
  SafeTensorsFile f;
  f.metadata = R"({"architecture":"resunet","note":"a\nb"})";
  const unsigned char odd = 7;
  f.add_raw("odd", "U8", {1}, &odd, 1);  // everything behind it is unaligned
  f.add("a", {2, 2}, {1.5f, -2.0f, 0.0f, 3.25f});
  const std::uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x0400, 0x8000};
  f.add_raw("h", "F16", {6}, half, sizeof half);
  const std::uint16_t brain[] = {0x3f80, 0xc000};
  f.add_raw("b", "BF16", {2}, brain, sizeof brain);
  const std::int64_t count = 42;
  f.add_raw("n.num_batches_tracked", "I64", {}, &count, sizeof count);
  f.add("empty", {0, 3}, {});
  const std::string bytes = f.bytes();
  const SafeTensors s = open(bytes);
  CHECK(s.metadata().at("note") == "a\nb");
  CHECK(s.floats("a", {2, 2}) == std::vector<float>{1.5f, -2.0f, 0.0f, 3.25f});
  CHECK(s.floats("h", {6}) ==
        std::vector<float>{1.0f, -2.0f, std::ldexp(1.0f, -24), 65504.0f, std::ldexp(1.0f, -14), -0.0f});
  CHECK(s.floats("b", {2}) == std::vector<float>{1.0f, -2.0f});
  CHECK(s.floats("empty", {0, 3}).empty());
  CHECK(s.entry("n.num_batches_tracked").elements() == 1);
  CHECK_THROWS_WITH_AS(s.floats("a", {4}), "m.safetensors: a: has shape [2, 2], [4] expected", InputError);
  CHECK_THROWS_WITH_AS(s.floats("zz", {4}), "m.safetensors: zz: the tensor is missing", InputError);
  CHECK_THROWS_WITH_AS(s.floats("odd", {1}), doctest::Contains("has type U8"), InputError);
}

TEST_CASE("half precision is widened exactly for every bit pattern") {
  for (std::uint32_t h = 0; h < 65536; ++h) {
    const int exponent = static_cast<int>(h >> 10 & 31), mantissa = static_cast<int>(h & 1023);
    const float got = microtome::half_to_float(static_cast<std::uint16_t>(h));
    if (exponent == 31) {
      CHECK((mantissa ? std::isnan(got) : std::isinf(got)));
      continue;
    }
    const double want = (h & 0x8000 ? -1.0 : 1.0) *
                        (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
    if (static_cast<double>(got) != want) FAIL("half ", h, " became ", got);
  }
}

TEST_CASE("values that are not finite are refused") {
  SafeTensorsFile f;
  f.add("w", {2}, {1.0f, std::numeric_limits<float>::quiet_NaN()});
  const std::string bytes = f.bytes();
  CHECK_THROWS_WITH_AS(open(bytes).floats("w", {2}), doctest::Contains("not finite"), InputError);
}

TEST_CASE("every broken header is refused and names what is wrong") {
  const std::pair<std::string, const char*> cases[] = {
      {"", "at least 8 expected"},
      {std::string(7, '\0'), "at least 8 expected"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8), "header length"},
      {SafeTensorsFile::wrap("{}", "").substr(0, 9), "header length"},
      {with_header("", 0), "does not begin"},
      {with_header(" {}", 0), "does not begin"},
      {with_header("[]", 0), "does not begin"},
      {with_header("{\"a\":1}", 0), "a: is not an object"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "data_offsets is missing"},
      {with_header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), "dtype is missing"},
      {with_header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "shape is missing"},
      {with_header(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype"},
      {with_header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "non-negative"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4), "non-negative"},
      {with_header(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", 4),
       "overflows"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 4), "outside"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "outside"},
      {with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "needs 8"},
      {with_header(
           R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
           6),
       "overlap"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), "hole"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8), "the file holds 8"},
      {with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4), "unknown key"},
      {with_header(
           R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
           4),
       "twice"},
      {with_header(R"({"__metadata__":{"a":1}})", 0), "is not a string"},
      {with_header(R"({"__metadata__":[]})", 0), "is not an object"},
  };
  for (const auto& c : cases) {  // no structured binding: clang 14 cannot capture one in doctest's lambda
    CAPTURE(c.second);
    CHECK_THROWS_WITH_AS(open(c.first), doctest::Contains(c.second), InputError);
  }
}

TEST_CASE("a damaged file never does worse than an InputError") {
  SafeTensorsFile f;
  f.metadata = R"({"architecture":"unet"})";
  f.add("ins.conv0.weight", {2, 3}, {1, 2, 3, 4, 5, 6});
  f.add("b", {1}, {1});
  const std::string good = f.bytes();
  std::mt19937 rng(3);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    for (unsigned k = 0; k <= rng() % 3; ++k) bad[rng() % bad.size()] = static_cast<char>(rng());
    if (rng() % 4 == 0) bad.resize(rng() % bad.size());
    try {
      const SafeTensors s = open(bad);
      for (const auto& [name, t] : s.tensors()) CHECK(t.bytes <= bad.size());
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("a missing file and a folder are refused") {
  CHECK_THROWS_WITH_AS(SafeTensors("/nonexistent/m.safetensors"), doctest::Contains("cannot open"),
                       InputError);
  CHECK_THROWS_AS(SafeTensors("/tmp"), InputError);
}
