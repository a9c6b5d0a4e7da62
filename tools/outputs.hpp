// Whether the files that a verb is asked to write can be written, before hours of work.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "microtome/core/error.hpp"
#include "microtome/core/os.hpp"

namespace microtome::tools {

/// A file to be written, and the option that named it.
struct Output {
  std::string option, path;
};

inline std::string without_last_slashes(std::string folder) {
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder;
}

/// Results must neither replace what is read nor each other, and be files in a folder that exists, or is
/// `new_folder`: hours later is too late to say so. Throws UsageError, ResourceError.
inline void check_outputs(const std::vector<Output>& outputs, const std::vector<std::string>& inputs,
                          const std::string& new_folder = "") {
  std::map<os::FileId, std::string> input_of;
  for (const std::string& input : inputs) input_of.emplace(os::file_id(input), input);
  input_of.erase(os::FileId());  // missing ones
  // Files that do not exist yet have no identity: their folder has, but for a new one.
  std::map<std::pair<os::FileId, std::string>, std::string> option_of;
  for (const Output& o : outputs) {
    if (o.path.empty()) continue;
    const std::size_t slash = o.path.find_last_of('/');
    const std::string name = slash == std::string::npos ? o.path : o.path.substr(slash + 1);
    const std::string folder =
        slash == std::string::npos ? "." : without_last_slashes(o.path.substr(0, slash + 1));
    if (name.empty() || os::is_directory(o.path))
      throw UsageError(o.option, "'" + o.path + "' is a directory: the name of a file expected");
    if (!os::is_directory(folder) && (os::exists(folder) || folder != new_folder))
      throw UsageError(o.option, "no such directory: " + folder);
    os::part_path(o.path);  // throws for a device or a pipe
    const auto input = input_of.find(os::file_id(o.path));
    if (input != input_of.end())
      throw UsageError(o.option, "'" + input->second + "' is an input and would be overwritten");
    const auto [other, first] = option_of.emplace(std::pair(os::file_id(folder), name), o.option);
    if (!first) throw UsageError(o.option, "'" + o.path + "' is also what " + other->second + " writes");
  }
}

}  // namespace microtome::tools
