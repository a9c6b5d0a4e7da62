// Parallel loops without a fixed thread library: OpenMP when compiled with -fopenmp; threads that wait for
// loops (thread_pool.hpp) when MICROTOME_STD_THREADS is defined, which suits machines that have other work,
// too; else serial; or the caller's own pool through Executor.
#pragma once
#include <atomic>
#include <exception>
#include <mutex>
#include <type_traits>
#include <utility>

#if defined(MICROTOME_STD_THREADS)
#include "thread_pool.hpp"
#endif

namespace microtome {

/// A non-owning reference to a callable void(int task, int worker).
class TaskRef {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TaskRef>>>
  TaskRef(F& f)
      : object_(&f), call_([](void* o, int task, int worker) { (*static_cast<F*>(o))(task, worker); }) {}
  void operator()(int task, int worker) const { call_(object_, task, worker); }

 private:
  void* object_;
  void (*call_)(void*, int, int);
};

/// Where loops run. Implement it to use an existing thread pool (examples/own_executor.cpp).
class Executor {
 public:
  virtual ~Executor() = default;
  /// Upper bound of `worker` + 1 in run(); scratch memory is allocated per worker.
  virtual int workers() const = 0;
  /// Calls task(i, worker) once for every i in [0, tasks), in any order, returns when all are done.
  /// `worker` is in [0, workers()) and no two concurrent calls share it. `task` never throws.
  virtual void run(int tasks, TaskRef task) = 0;
};

/// The built-in executor: `threads` workers, work handed out one task at a time; one worker where the program
/// is compiled without threads.
class DefaultExecutor final : public Executor {
 public:
  explicit DefaultExecutor(int threads)
      : threads_(kThreaded && threads > 1 ? threads : 1)
#if defined(MICROTOME_STD_THREADS)
        ,
        pool_(threads_)
#endif
  {
  }
  int workers() const override {
    return threads_;
  }

  void run(int tasks, TaskRef task) override {
    if (threads_ == 1 || tasks <= 1) {
      for (int i = 0; i < tasks; ++i) task(i, 0);
      return;
    }
    std::atomic<int> next{0};
    auto loop = [&](int worker) {
      for (int i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) task(i, worker);
    };
#if defined(MICROTOME_STD_THREADS)
    pool_.run(loop);
#elif defined(_OPENMP)
    const int n = threads_ < tasks ? threads_ : tasks;
    // Each iteration is one worker's whole loop, so the worker number does not depend on how many threads
    // the OpenMP runtime grants (inside a caller's parallel region it may grant one).
#pragma omp parallel for num_threads(n) schedule(static, 1)
    for (int w = 0; w < n; ++w) loop(w);
#else
    loop(0);
#endif
  }

 private:
#if defined(MICROTOME_STD_THREADS) || defined(_OPENMP)
  static constexpr bool kThreaded = true;
#else
  static constexpr bool kThreaded = false;
#endif
  int threads_;
#if defined(MICROTOME_STD_THREADS)
  ThreadPool pool_;
#endif
};

/// Runs body(i, worker) for i in [0, n) on `ex`; rethrows the first exception after all tasks have ended.
/// Tasks not yet started when one throws are skipped.
template <class F>
void parallel_for(Executor& ex, int n, F&& body) {
  std::exception_ptr first;
  std::mutex guard;
  std::atomic<bool> failed{false};
  auto task = [&](int i, int worker) {
    if (failed.load(std::memory_order_relaxed)) return;
    try {
      body(i, worker);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      if (!first) first = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  };
  ex.run(n, TaskRef(task));
  if (first) std::rethrow_exception(first);
}

}  // namespace microtome
