// How long work reports and stops: one callback, called often, from one thread at a time.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>

namespace microtome {

/// A step of a longer job.
struct Progress {
  const char* stage = "";             ///< "tissue", "segment", "write" ...
  std::uint64_t done = 0, total = 0;  ///< in units of the stage, done <= total
};

/// Called after every step, never concurrently. Returning false cancels the job: it throws Cancelled.
using ProgressFn = std::function<bool(const Progress&)>;

/// Thrown by a job whose ProgressFn returned false. Not an Error: nothing went wrong.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

inline void report(const ProgressFn& progress, const char* stage, std::uint64_t done, std::uint64_t total) {
  if (progress && !progress(Progress{stage, done, total})) throw Cancelled();
}

}  // namespace microtome
