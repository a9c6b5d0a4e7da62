// Runs another program in a test and returns what it printed.
#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace microtome_test {

struct ToolResult {
  int code = -1;     ///< exit code; 127: not installed
  std::string text;  ///< stdout and stderr
};

inline ToolResult run_tool(const std::string& command) {
  ToolResult r;
  std::FILE* p = popen(("( " + command + " ) 2>&1").c_str(), "r");
  if (!p) return r;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, p)) > 0;) r.text.append(buffer, n);
  const int status = pclose(p);
  if (WIFEXITED(status)) r.code = WEXITSTATUS(status);
  return r;
}

/// MICROTOME_PYTHON, else python3: the interpreter for checks with Python packages.
inline std::string python() {
  const char* named = std::getenv("MICROTOME_PYTHON");
  return named ? named : "python3";
}

}  // namespace microtome_test
