// Every task runs exactly once, workers never collide, exceptions come out, nested loops work.
#include <doctest.h>
#include <microtome/core/parallel.hpp>

#include <atomic>
#include <stdexcept>
#include <vector>

using microtome::DefaultExecutor;
using microtome::parallel_for;

TEST_CASE("every task runs once and no two at a time share a worker") {
  for (const int threads : {1, 2, 5}) {
    DefaultExecutor executor(threads);
    std::vector<std::atomic<int>> runs(1000), busy(static_cast<std::size_t>(threads));
    std::atomic<bool> collided{false};
    parallel_for(executor, 1000, [&](int i, int worker) {
      if (worker < 0 || worker >= threads || busy[static_cast<std::size_t>(worker)].fetch_add(1) != 0)
        collided = true;
      runs[static_cast<std::size_t>(i)]++;
      busy[static_cast<std::size_t>(worker)]--;
    });
    CHECK(!collided);
    for (const auto& r : runs) CHECK(r == 1);
  }
}

TEST_CASE("an exception in a task reaches the caller") {
  for (const int threads : {1, 3}) {
    DefaultExecutor executor(threads);
    CHECK_THROWS_AS(parallel_for(executor, 50,
                                 [](int i, int) {
                                   if (i == 7) throw std::runtime_error("seven");
                                 }),
                    std::runtime_error);
  }
}

TEST_CASE("a loop inside a loop does all its work") {
  DefaultExecutor outer(3);
  std::atomic<int> count{0};
  parallel_for(outer, 6, [&](int, int) {
    DefaultExecutor inner(2);
    parallel_for(inner, 10, [&](int, int) { ++count; });
  });
  CHECK(count == 60);
}

TEST_CASE("no tasks is no work") {
  DefaultExecutor executor(4);
  parallel_for(executor, 0, [](int, int) { FAIL("called"); });
}
