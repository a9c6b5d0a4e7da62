// Loops on waiting threads: all work done when run() returns, thread numbers distinct, none left running.
#include <doctest.h>
#include <microtome/core/thread_pool.hpp>

#include <atomic>
#include <vector>

using microtome::ThreadPool;

TEST_CASE("thousands of loops, each complete when it returns") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 2000; ++round) {
      std::vector<int> done(17);  // plain integers: a thread that is late or early is a data race
      std::atomic<int> next{0}, inside{0};
      std::atomic<unsigned> workers{0};
      bool distinct = true;
      auto loop = [&](int worker) {
        ++inside;
        if (workers.fetch_or(1u << worker) & (1u << worker)) distinct = false;
        for (int i = next++; i < 17; i = next++) done[static_cast<std::size_t>(i)] += round;
        --inside;
      };
      pool.run(loop);
      REQUIRE(inside == 0);
      REQUIRE(distinct);
      REQUIRE((workers.load() & 1u) == 1u);
      REQUIRE(workers.load() < 1u << threads);
      for (const int d : done) REQUIRE(d == round);
    }
  }
}

TEST_CASE("a pool that never ran, or only sleeps, ends") {
  { const ThreadPool pool(4); }
  ThreadPool pool(4);
  auto nothing = [](int) {};
  pool.run(nothing);
}
