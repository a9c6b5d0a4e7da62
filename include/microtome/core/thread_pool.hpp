// Threads that wait for loops to run.
//
// A network is some hundred short loops. Threads started anew for each cost about as much as the shortest of
// them; threads that spin between loops (OpenMP runtimes do, for milliseconds) take the CPU from whoever else
// needs it, the loop's own other threads included. So: spin for about as long as waking up takes, then sleep.
// Nobody waits for a thread that has not begun: on a busy machine the others do its share.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace microtome {

class ThreadPool {
 public:
  /// `threads` - 1 of its own; that which calls run() is the first one. They start with the first run().
  explicit ThreadPool(int threads) : size_(threads) {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      loops_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  /// Calls loop(worker) on this thread as worker 0 and on as many others as come before this one's call has
  /// returned. One run() at a time.
  template <class Loop>
  void run(Loop& loop) {
    start();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      object_ = &loop;
      call_ = [](void* o, int worker) { (*static_cast<Loop*>(o))(worker); };
      loops_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    loop(0);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      call_ = nullptr;  // whoever comes now comes too late
    }
    if (spin([&] { return inside_.load(std::memory_order_acquire) == 0; })) return;
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return inside_.load() == 0; });
  }

 private:
  // About 50 us.
  static constexpr int kSpins = 1500;

  template <class Condition>
  static bool spin(Condition&& condition) {
    for (int i = 0; i < kSpins; ++i) {
      if (condition()) return true;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
    return false;
  }

  void start() {
    if (!threads_.empty()) return;
    try {
      for (int w = 1; w < size_; ++w) threads_.emplace_back([this, w] { work(w); });
    } catch (const std::system_error&) {  // no more threads to be had: those that started do the work
    }
  }

  void work(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      spin([&] { return loops_.load(std::memory_order_acquire) != seen; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return loops_.load() != seen; });
      seen = loops_.load();
      if (stop_) return;
      if (!call_) continue;
      inside_.fetch_add(1);
      const auto call = call_;
      void* const object = object_;
      lock.unlock();
      call(object, worker);
      lock.lock();
      if (inside_.fetch_sub(1, std::memory_order_release) == 1) done_.notify_one();
    }
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> loops_{0};
  std::atomic<int> inside_{0};
  void* object_ = nullptr;
  void (*call_)(void*, int) = nullptr;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace microtome
