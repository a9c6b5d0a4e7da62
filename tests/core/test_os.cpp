#include <doctest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "../test_data.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/text.hpp"

using namespace microtome;

namespace {

std::string content(const std::string& path) {
  const os::File f(path, os::File::Mode::read);
  std::string s(static_cast<std::size_t>(f.size()), '\0');
  f.read(0, s.data(), s.size());
  return s;
}

std::size_t entries(const std::string& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

}  // namespace

TEST_CASE("a file is written whole or not at all") {
  const microtome_test::TempDir dir;
  os::write_file_atomically(dir / "a", "first", 5);
  os::write_file_atomically(dir / "a", "2nd", 3);
  CHECK(content(dir / "a") == "2nd");
  CHECK(entries(dir.path()) == 1);
  std::filesystem::create_directory(dir / "folder");
  CHECK_THROWS_AS(os::write_file_atomically(dir / "folder", "x", 1), ResourceError);
  CHECK_THROWS_AS(os::write_file_atomically(dir / "missing/a", "x", 1), ResourceError);
  CHECK(entries(dir.path()) == 2);
}

TEST_CASE("a folder knows whether it is new, and is removed only when nothing is in it") {
  const microtome_test::TempDir dir;
  CHECK(os::make_directories(dir / "a/b"));
  CHECK_FALSE(os::make_directories(dir / "a/b/"));
  os::remove_empty_directory(dir / "a");
  CHECK(os::is_directory(dir / "a/b"));
  os::remove_empty_directory(dir / "a/b");
  CHECK_FALSE(os::exists(dir / "a/b"));
  os::write_file_atomically(dir / "file", "x", 1);
  CHECK_THROWS_AS(os::make_directories(dir / "file/c"), ResourceError);
  CHECK_THROWS_AS(os::make_directories(dir / "file"), ResourceError);
}

TEST_CASE("one file is recognised under several names") {
  const microtome_test::TempDir dir;
  os::write_file_atomically(dir / "a", "x", 1);
  os::write_file_atomically(dir / "b", "x", 1);
  REQUIRE(symlink("a", (dir / "soft").c_str()) == 0);
  REQUIRE(link((dir / "a").c_str(), (dir / "hard").c_str()) == 0);
  CHECK(os::same_file(dir / "a", dir / "./a"));
  CHECK(os::same_file(dir / "a", dir / "soft"));
  CHECK(os::same_file(dir / "hard", dir / "a"));
  CHECK_FALSE(os::same_file(dir / "a", dir / "b"));
  CHECK_FALSE(os::same_file(dir / "missing", dir / "missing"));
  CHECK_FALSE(os::same_file("", ""));
}

TEST_CASE("a directory is listed in the order of bytes, without hidden files") {
  const microtome_test::TempDir dir;
  for (const std::string name : {"b", "a", ".hidden", "B"}) os::write_file_atomically(dir / name, "x", 1);
  CHECK(os::list_directory(dir.path()) == std::vector<std::string>{"B", "a", "b"});
  CHECK_THROWS_AS(os::list_directory(dir / "a"), InputError);
  CHECK_THROWS_AS(os::list_directory(dir / "missing"), InputError);
}

TEST_CASE("a locked folder is refused until it is released, and nothing is left in it") {
  const microtome_test::TempDir dir;
  {
    const os::FolderLock lock(dir.path());
    CHECK_THROWS_WITH_AS(os::FolderLock(dir.path()), doctest::Contains("another run"), ResourceError);
  }
  CHECK_NOTHROW(os::FolderLock(dir.path()));
  CHECK(entries(dir.path()) == 0);
}

TEST_CASE("control characters become question marks, other text is kept") {
  CHECK(printable("a\x1b[31m\r\nb\x7f") == "a?[31m??b?");
  CHECK(printable("\xc2\x9b"
                  "1m \xc2\x85") == "??1m ??");
  CHECK(printable("\xc2\xb5m \xc3\x9b \xe2\x82\x9b \xc2") == "\xc2\xb5m \xc3\x9b \xe2\x82\x9b \xc2");
  CHECK(std::string(InputError("a\nb", "tag\x1b", "why\xc2\x9b").what()) == "a?b: tag?: why??");
}
