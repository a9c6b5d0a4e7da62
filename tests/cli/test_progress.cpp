// Progress as lines of a log: what a batch job's stderr holds.
#include <doctest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

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

// The clock of the bars: it stands still unless it is told to go on.
double seconds = 0.0;

double now() {
  return seconds;
}

}  // namespace

TEST_CASE("the end of a stage is one line, however often it is reported") {
  const std::string log = stderr_of([] {
    tools::ProgressBar bar("job", false, now);
    bar.update({"first", 0, 2});
    seconds += 1.0;
    bar.update({"first", 2, 2});
    bar.update({"first", 2, 2});
    bar.update({"second", 0, 2});
    seconds += 0.9;
    bar.update({"second", 2, 2});  // too quick to mention
    bar.update({"first", 1, 2});
    seconds += 3725.0;
    bar.update({"first", 2, 2});  // the same stage again, of something else
  });
  CHECK(log == "job: first 100 %, 1 s\njob: first 100 %, 1 h 02 min\n");
}

TEST_CASE("a stage that takes long is a line every five seconds, with the time left") {
  const std::string log = stderr_of([] {
    tools::ProgressBar bar("a\x1b[1m", false, now);
    bar.update({"first", 10, 100});
    for (std::uint64_t done : {20, 30, 40}) {
      seconds += 4.0;
      bar.update({"first", done, 100});
    }
    seconds += 3.0;
    bar.update({"first", 100, 100});
  });
  CHECK(log == "a?[1m: first 30 %, 28 s left\na?[1m: first 100 %, 15 s\n");
}

TEST_CASE("quiet is quiet") {
  CHECK(stderr_of([] {
          tools::ProgressBar bar("job", true, now);
          bar.update({"first", 0, 1});
          seconds += 10.0;
          bar.update({"first", 1, 1});
        }).empty());
}
