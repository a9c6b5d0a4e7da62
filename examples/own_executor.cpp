// Running a network on the caller's own threads: a minimal pool behind the Executor interface.
//   own_executor MODEL.safetensors
// Prints whether the pool's result equals the one of a single thread, bit for bit.
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "microtome/microtome.hpp"

namespace {

/// Threads that live as long as the pool; the caller of run() works as worker 0.
class Pool final : public microtome::Executor {
 public:
  explicit Pool(int workers) : workers_(workers) {
    for (int w = 1; w < workers; ++w) threads_.emplace_back([this, w] { serve(w); });
  }
  ~Pool() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  int workers() const override { return workers_; }

  void run(int tasks, microtome::TaskRef task) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      tasks_ = tasks;
      next_ = 0;
      busy_ = workers_ - 1;
      ++round_;
    }
    wake_.notify_all();
    work(0);
    // `task` must outlive every worker's last look at it.
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve(int worker) {
    for (long seen = 0;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
      }
      work(worker);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  void work(int worker) {
    for (;;) {
      int i = 0;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (next_ >= tasks_) return;
        i = next_++;
      }
      (*task_)(i, worker);
    }
  }

  const int workers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const microtome::TaskRef* task_ = nullptr;
  int tasks_ = 0, next_ = 0, busy_ = 0;
  long round_ = 0;
  bool stop_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: own_executor MODEL.safetensors\n");
    return 2;
  }
  try {
    const auto model = microtome::load_model(argv[1]);
    constexpr int kSide = 96;
    std::vector<std::uint8_t> rgb(kSide * kSide * 3);
    for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * i % 251);

    Pool pool(3);
    microtome::Session pooled(model, &pool), serial(model);
    const auto a = pooled.run(rgb.data(), kSide, kSide), b = serial.run(rgb.data(), kSide, kSide);
    const bool same = std::memcmp(a.data.data(), b.data.data(), a.data.size() * sizeof(float)) == 0;
    std::printf("%zu probabilities, %s\n", a.data.size(), same ? "identical" : "DIFFERENT");
    return same ? 0 : 1;
  } catch (const microtome::Error& e) {
    std::fprintf(stderr, "own_executor: %s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
