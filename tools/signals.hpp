// Ctrl-C and kill: the work in hand is finished or undone, then the program ends.
#pragma once
#include <csignal>
#include <cstddef>

namespace microtome::tools {

/// Number of the signal that asked for the end, 0: none did. Progress callbacks return `interrupted == 0`.
inline volatile std::sig_atomic_t interrupted = 0;

/// The first signal asks the run to stop after the patches in work; a second one ends the program at once.
class SignalGuard {
 public:
  SignalGuard() {
    interrupted = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      struct sigaction act {};
      act.sa_handler = [](int signal) { interrupted = signal; };
      act.sa_flags = static_cast<int>(SA_RESETHAND);
      sigaction(kSignals[i], &act, &before_[i]);
    }
  }
  ~SignalGuard() {
    for (std::size_t i = 0; i < 2; ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  static constexpr int kSignals[2] = {SIGINT, SIGTERM};
  struct sigaction before_[2];
};

}  // namespace microtome::tools
