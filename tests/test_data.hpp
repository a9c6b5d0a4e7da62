// Where external test inputs are: the environment variable MICROTOME_TEST_DATA, else ../shared/data beside
// the checkout. Absent = the test skips; named but missing = the test fails.
#pragma once
#include <doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace microtome_test {

/// Folder of the external test data, or "" when there is none.
inline std::string test_data() {
  if (const char* named = std::getenv("MICROTOME_TEST_DATA")) {
    REQUIRE_MESSAGE(std::filesystem::is_directory(named), "MICROTOME_TEST_DATA is not a folder: ", named);
    return named;
  }
  const std::filesystem::path beside = std::filesystem::path(__FILE__).parent_path() / "../../shared/data";
  return std::filesystem::is_directory(beside) ? beside.lexically_normal().string() : std::string();
}

/// A fresh, empty folder that is removed at the end of the scope.
class TempDir {
 public:
  TempDir() {
    std::string t = (std::filesystem::temp_directory_path() / "microtome-test-XXXXXX").string();
    REQUIRE(mkdtemp(t.data()) != nullptr);
    path_ = t;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace microtome_test
