// Opens a mask of any supported format.
#pragma once
#include <memory>
#include <string>

#include "../core/error.hpp"
#include "../core/os.hpp"
#include "../slide/tiff_file.hpp"
#include "label_image.hpp"
#include "label_png.hpp"
#include "label_tiff.hpp"

namespace microtome {

/// Opens a mask: TIFF (8-bit, one sample, palette or min-is-black; `level` is the directory) or PNG (grey or
/// palette up to 8 bits, whose sample or index is the label; RGB when all channels are equal; alpha ignored).
/// Recognised by content. Throws InputError naming the field at fault.
inline std::unique_ptr<LabelImage> open_labels(const std::string& path, int level = 0) {
  unsigned char m[8] = {};
  const std::size_t n = os::File(path, os::File::Mode::read).read_some(0, m, sizeof m);
  if (tiff::is_tiff(m, n)) return std::make_unique<LabelTiff>(path, level);
  if (m[0] == 0x89 && m[1] == 'P' && m[2] == 'N' && m[3] == 'G' && level == 0)
    return std::make_unique<LabelPng>(path);
  throw InputError(path, "", "not a mask: TIFF or PNG expected");
}

}  // namespace microtome
