// Progress as lines of a log: what a batch job's stderr holds.
#include <doctest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "../../tools/progress.hpp"

using namespace microtome;

namespace {

// What `job` writes to stderr, which is a file meanwhile.
template <class Job>
std::string stderr_of(Job&& job) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  const int terminal = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  job();
  dup2(terminal, STDERR_FILENO);
  close(terminal);
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

void wait_a_second() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
}

}  // namespace

TEST_CASE("the end of a stage is one line, however often it is reported") {
  const std::string log = stderr_of([] {
    tools::ProgressBar bar("job", false);
    bar.update({"first", 0, 2});
    wait_a_second();
    bar.update({"first", 2, 2});
    bar.update({"first", 2, 2});
    bar.update({"second", 0, 2});
    bar.update({"second", 2, 2});  // too quick to mention
    bar.update({"first", 1, 2});
    wait_a_second();
    bar.update({"first", 2, 2});  // the same stage again, of something else
  });
  CHECK(log == "job: first 100 %, 1 s\njob: first 100 %, 1 s\n");
}

TEST_CASE("quiet is quiet") {
  CHECK(stderr_of([] {
          tools::ProgressBar bar("job", true);
          bar.update({"first", 0, 1});
          wait_a_second();
          bar.update({"first", 1, 1});
        }).empty());
}
