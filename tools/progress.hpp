// Progress on stderr: a bar with the time left on a terminal, otherwise a plain line every five seconds and
// one at the end of every stage that took a second.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "microtome/core/os.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/progress.hpp"

namespace microtome::tools {

/// Shows the stages of one job. Feed it what a ProgressFn receives:
///   ProgressBar bar("slide.svs", args.quiet);
///   segment_slide(..., [&](const Progress& p) { bar.update(p); return true; });
class ProgressBar {
 public:
  /// `now` returns seconds.
  ProgressBar(std::string label, bool quiet, double (*now)() = &os::now)
      : label_(printable(std::move(label))), quiet_(quiet), terminal_(os::is_terminal(stderr)), now_(now) {}
  ~ProgressBar() { end_line(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(const Progress& p) {
    if (quiet_ || p.total == 0) return;
    const double now = now_();
    if (stage_ != p.stage) {
      end_line();
      stage_ = p.stage;
      start_ = now;
      shown_ = terminal_ ? 0.0 : now;
      first_ = p.done;
      ended_ = false;
    }
    const bool last = p.done >= p.total;
    if (last && ended_) return;  // a stage may report its end more than once
    ended_ = last;
    if (terminal_) {
      if (!last && now - shown_ < 0.1) return;
      shown_ = now;
      draw(p, now - start_);
    } else {
      if (last ? now - start_ < 1.0 : now - shown_ < 5.0) return;
      shown_ = now;
      std::fprintf(stderr, "%s: %s %d %%%s\n", label_.c_str(), p.stage,
                   static_cast<int>(100 * p.done / p.total), left(p, now - start_).c_str());
    }
    if (last) end_line();
  }

  /// Ends the bar's line, so that other output may follow.
  void end_line() {
    if (open_) std::fputc('\n', stderr);
    open_ = false;
  }

 private:
  // ", 2 min 05 s left", or how long it took.
  std::string left(const Progress& p, double elapsed) const {
    if (p.done >= p.total) return ", " + duration(elapsed);
    if (p.done <= first_ || elapsed < 0.5) return "";
    return ", " +
           duration(elapsed * static_cast<double>(p.total - p.done) / static_cast<double>(p.done - first_)) +
           " left";
  }

  static std::string duration(double seconds) {
    char s[48];
    const auto t = static_cast<long long>(seconds + 0.5);
    if (t >= 3600)
      std::snprintf(s, sizeof s, "%lld h %02lld min", t / 3600, t % 3600 / 60);
    else if (t >= 60)
      std::snprintf(s, sizeof s, "%lld min %02lld s", t / 60, t % 60);
    else
      std::snprintf(s, sizeof s, "%lld s", t);
    return s;
  }

  void draw(const Progress& p, double elapsed) {
    constexpr int kWidth = 24;
    const auto filled = static_cast<int>(kWidth * p.done / p.total);
    std::string bar(static_cast<std::size_t>(filled), '#');
    bar.resize(kWidth, '.');
    std::fprintf(stderr, "\r%s: %s [%s] %3d %%%s\x1b[K", label_.c_str(), p.stage, bar.c_str(),
                 static_cast<int>(100 * p.done / p.total), left(p, elapsed).c_str());
    std::fflush(stderr);
    open_ = true;
  }

  std::string label_, stage_;
  bool quiet_, terminal_, open_ = false, ended_ = false;
  double (*now_)();
  double start_ = 0.0, shown_ = 0.0;
  std::uint64_t first_ = 0;
};

}  // namespace microtome::tools
