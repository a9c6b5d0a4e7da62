// Which mask belongs to which image: files of two folders, matched by name.
#pragma once
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "../core/text.hpp"

namespace microtome {

/// An image and the mask that says what is in it.
struct ImagePair {
  std::string name;         ///< stem of the image's file name
  std::string image, mask;  ///< paths
};

namespace detail {

inline constexpr std::initializer_list<const char*> kImageExtensions = {".png", ".jpg",  ".jpeg",
                                                                        ".tif", ".tiff", ".svs"};

// Files of a folder with one of the extensions (lower case, any case in the folder), by stem; a file is
// itself.
inline std::map<std::string, std::string> files_by_stem(const std::string& path,
                                                        std::initializer_list<const char*> extensions) {
  std::map<std::string, std::string> found;
  if (!os::is_directory(path)) {
    if (!os::exists(path)) throw InputError(path, "", "no such file or directory");
    found.emplace(file_stem(path), path);
    return found;
  }
  for (const std::string& name : os::list_directory(path)) {
    const std::size_t dot = name.find_last_of('.');
    std::string extension = dot == std::string::npos ? "" : name.substr(dot);
    for (char& c : extension)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool wanted = std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
    const std::string file = path + (path.back() == '/' ? "" : "/") + name;
    if (!wanted || os::is_directory(file)) continue;
    const auto [other, first] = found.emplace(file_stem(name), file);
    if (!first)
      throw InputError(
          path, "", "'" + file_name(other->second) + "' and '" + name + "' differ only in their extension");
  }
  if (found.empty()) {
    std::string list;
    for (const char* e : extensions) list += std::string(" ") + e;
    throw InputError(path, "", "holds no file of a known kind:" + list);
  }
  return found;
}

// "a, b, c and 7 more"
inline std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 10;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMost; ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

}  // namespace detail

/// The images (PNG, JPEG, TIFF, SVS) of a folder, in the order of the names' bytes, or the file that `path`
/// is. Throws InputError when there is none.
inline std::vector<std::string> list_images(const std::string& path) {
  std::vector<std::string> files;
  for (const auto& [stem, file] : detail::files_by_stem(path, detail::kImageExtensions))
    files.push_back(file);
  return files;
}

/// Pairs the images (PNG, JPEG, TIFF, SVS) of a folder with the masks (PNG, TIFF) of another by the stem of
/// their names: a.jpg with a.tif. In the order of the names' bytes; hidden files, folders and files with
/// other extensions are not looked at. Either may be a single file: its partner is then looked for alone, and
/// two files are a pair whatever their names. Throws InputError naming the files without a partner.
inline std::vector<ImagePair> match_images(const std::string& images, const std::string& masks) {
  const auto image_files = detail::files_by_stem(images, detail::kImageExtensions);
  const auto mask_files = detail::files_by_stem(masks, {".png", ".tif", ".tiff"});
  const bool one_image = !os::is_directory(images), one_mask = !os::is_directory(masks);
  if (one_image && one_mask) return {{file_stem(images), images, masks}};

  std::vector<ImagePair> pairs;
  std::vector<std::string> no_mask, no_image;
  for (const auto& [stem, file] : image_files) {
    const auto mask = mask_files.find(stem);
    if (mask != mask_files.end())
      pairs.push_back({stem, file, mask->second});
    else if (!one_mask)
      no_mask.push_back(file_name(file));
  }
  for (const auto& [stem, file] : mask_files)
    if (!one_image && image_files.count(stem) == 0) no_image.push_back(file_name(file));
  if (!no_mask.empty())
    throw InputError(masks, "", "no mask of the same name for " + detail::listed(no_mask));
  if (!no_image.empty())
    throw InputError(images, "", "no image of the same name for the mask " + detail::listed(no_image));
  return pairs;
}

}  // namespace microtome
