// A synthetic whole-slide image as a pyramidal JPEG BigTIFF, with the true mask of its nuclei beside it.
// Both are streamed: memory grows with the number of tiles (16 bytes each), not with their pixels.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/parallel.hpp"
#include "../version.hpp"
#include "jpeg_tiles.hpp"
#include "progress.hpp"
#include "pyramid_writer.hpp"
#include "synth_render.hpp"
#include "synth_tissue.hpp"
#include "tiff_writer.hpp"

namespace microtome {

struct SynthOptions {
  std::int64_t width = 4096, height = 4096;  ///< pixels
  double tissue = 0.6;                       ///< share of the slide covered by tissue, 0..1
  double mpp = 0.25;                         ///< um per pixel; structures keep their size in um
  std::uint64_t seed = 1;
  int quality = 85;  ///< JPEG, 1..100
};

namespace synth {

/// Collects tiles into the pyramid of the slide file. Tiles of a level arrive in Morton order, so one open
/// parent per level is enough; parents that never open stay blank.
class Pyramid {
 public:
  static constexpr int kTile = Renderer::kTile;
  static constexpr std::size_t kBytes = std::size_t{3} * kTile * kTile;

  Pyramid(TiffWriter& file, std::int64_t width, std::int64_t height, int quality)
      : file_(file), encoder_(kTile, quality), white_(kBytes) {
    for (std::int64_t w = width, h = height;; w = (w + 1) / 2, h = (h + 1) / 2) {
      Level l;
      l.width = w;
      l.height = h;
      l.across = (w + kTile - 1) / kTile;
      l.tiles.resize(static_cast<std::size_t>(l.across * ((h + kTile - 1) / kTile)));
      levels_.push_back(std::move(l));
      if (w <= kTile && h <= kTile) break;
    }
    for (std::size_t i = 0; i < kBytes; ++i) white_[i] = kGlass[i % 3];
    const std::vector<std::uint8_t> z = encoder_.encode(white_.data());
    blank_ = file_.append(z.data(), z.size());
  }

  int levels() const { return static_cast<int>(levels_.size()); }
  const std::vector<std::uint8_t>& white() const { return white_; }
  bool contains(int level, std::int64_t tx, std::int64_t ty) const {
    const Level& l = levels_[static_cast<std::size_t>(level)];
    return tx >= 0 && ty >= 0 && tx * kTile < l.width && ty * kTile < l.height;
  }

  /// Stores a compressed tile without handing it to its parent.
  void store(int level, std::int64_t tx, std::int64_t ty, const std::vector<std::uint8_t>& jpeg) {
    Level& l = levels_[static_cast<std::size_t>(level)];
    l.tiles[static_cast<std::size_t>(ty * l.across + tx)] = file_.append(jpeg.data(), jpeg.size());
  }

  /// Averages the pixels of a finished tile into its parent, finishing other parents on the way.
  void promote(int level, std::int64_t tx, std::int64_t ty, const std::uint8_t* rgb) {
    if (level + 1 >= levels()) return;
    Level& up = levels_[static_cast<std::size_t>(level) + 1];
    if (up.open_x != tx / 2 || up.open_y != ty / 2) {
      close(level + 1);
      up.open_x = tx / 2;
      up.open_y = ty / 2;
      up.rgb = white_;
    }
    halve(rgb, up.rgb.data(), static_cast<int>(tx % 2), static_cast<int>(ty % 2));
  }

  /// The directories of all levels, finest first.
  std::vector<TiffDirectory> finish(double mpp, const std::string& description) {
    for (int k = 1; k < levels(); ++k) close(k);
    std::vector<TiffDirectory> all;
    const std::vector<std::uint8_t> tables = encoder_.tables();
    for (std::size_t k = 0; k < levels_.size(); ++k) {
      Level& l = levels_[k];
      for (TileRef& t : l.tiles)
        if (t.bytes == 0) t = blank_;
      TiffDirectory d;
      d.add_long(254, k == 0 ? 0 : 1);  // NewSubfileType: reduced resolution
      d.add_long(256, static_cast<std::uint32_t>(l.width));
      d.add_long(257, static_cast<std::uint32_t>(l.height));
      d.add_short(258, {8, 8, 8});
      d.add_short(259, {7});  // Compression: JPEG
      d.add_short(262, {6});  // PhotometricInterpretation: YCbCr
      if (k == 0) d.add_ascii(270, description);
      d.add_short(277, {3});
      d.add_rational(282, std::ldexp(1e4 / mpp, -static_cast<int>(k)));
      d.add_rational(283, std::ldexp(1e4 / mpp, -static_cast<int>(k)));
      d.add_short(284, {1});
      d.add_short(296, {3});
      d.add_ascii(305, "microtome " MICROTOME_VERSION);
      d.add_long(322, kTile);
      d.add_long(323, kTile);
      d.add_bytes(347, tables);
      d.add_short(530, {2, 2});  // YCbCrSubSampling
      d.tiles = std::move(l.tiles);
      all.push_back(std::move(d));
    }
    return all;
  }

  /// Mean of 2x2 pixels into quarter (qx, qy) of the parent tile.
  static void halve(const std::uint8_t* from, std::uint8_t* parent, int qx, int qy) {
    constexpr int half = kTile / 2;
    for (int y = 0; y < half; ++y) {
      const std::uint8_t* a = from + std::size_t{6} * kTile * static_cast<std::size_t>(y);
      const std::uint8_t* b = a + 3 * kTile;
      std::uint8_t* to = parent + 3 * (static_cast<std::size_t>(qy * half + y) * kTile +
                                       static_cast<std::size_t>(qx * half));
      for (int x = 0; x < half; ++x, a += 6, b += 6, to += 3)
        for (int c = 0; c < 3; ++c)
          to[c] = static_cast<std::uint8_t>((a[c] + a[c + 3] + b[c] + b[c + 3] + 2) / 4);
    }
  }

 private:
  struct Level {
    std::int64_t width = 0, height = 0, across = 0;
    std::vector<TileRef> tiles;
    std::int64_t open_x = -1, open_y = -1;  // the parent tile being filled
    std::vector<std::uint8_t> rgb;
  };

  void close(int level) {
    Level& l = levels_[static_cast<std::size_t>(level)];
    if (l.open_x < 0) return;
    store(level, l.open_x, l.open_y, encoder_.encode(l.rgb.data()));
    promote(level, l.open_x, l.open_y, l.rgb.data());
    l.open_x = l.open_y = -1;
  }

  TiffWriter& file_;
  JpegTileEncoder encoder_;
  std::vector<std::uint8_t> white_;
  std::vector<Level> levels_;
  TileRef blank_;
};

/// A square of 4 x 4 tiles: the unit of parallel work. Holds what it makes until it is stored in order.
class Block {
 public:
  static constexpr int kLevel = 2;  ///< a block is one tile of this level

  Block(const Tissue& tissue, double mpp, int quality)
      : renderer_(tissue, mpp), encoder_(Pyramid::kTile, quality), labels_(Pyramid::kBytes / 3) {
    for (auto& rgb : rgb_) rgb.resize(Pyramid::kBytes);
  }

  /// Draws the block (bx, by); `top` is its coarsest level in this slide.
  void draw(const Pyramid& pyramid, MaskPyramidWriter& mask, std::int64_t bx, std::int64_t by, int top) {
    tiles_.clear();
    top_ = top;
    any_ = build(pyramid, mask, top, bx, by);
  }

  /// Hands the results over; call in the order of blocks.
  void store(Pyramid& pyramid, std::int64_t bx, std::int64_t by) {
    for (const Made& t : tiles_) pyramid.store(t.level, t.x, t.y, t.jpeg);
    if (any_) pyramid.promote(top_, bx, by, rgb_[static_cast<std::size_t>(top_)].data());
  }

 private:
  struct Made {
    int level;
    std::int64_t x, y;
    std::vector<std::uint8_t> jpeg;
  };

  bool build(const Pyramid& pyramid, MaskPyramidWriter& mask, int level, std::int64_t tx, std::int64_t ty) {
    std::vector<std::uint8_t>& rgb = rgb_[static_cast<std::size_t>(level)];
    bool any = false;
    if (level == 0) {
      any = renderer_.draw(tx, ty, rgb.data(), labels_.data());
      if (any) store_labels(mask, tx, ty);
    } else {
      rgb = pyramid.white();
      for (int child = 0; child < 4; ++child) {
        const std::int64_t cx = 2 * tx + child % 2, cy = 2 * ty + child / 2;
        if (!pyramid.contains(level - 1, cx, cy) || !build(pyramid, mask, level - 1, cx, cy)) continue;
        Pyramid::halve(rgb_[static_cast<std::size_t>(level) - 1].data(), rgb.data(), child % 2, child / 2);
        any = true;
      }
    }
    if (any) tiles_.push_back({level, tx, ty, encoder_.encode(rgb.data())});
    return any;
  }

  // Tiles at the right and bottom edge are drawn whole; the mask is 0 outside the canvas.
  void store_labels(MaskPyramidWriter& mask, std::int64_t tx, std::int64_t ty) {
    constexpr std::int64_t t = Pyramid::kTile;
    const std::int64_t w = std::min(t, mask.width() - tx * t), h = std::min(t, mask.height() - ty * t);
    for (std::int64_t y = 0; y < t; ++y) {
      const std::int64_t keep = y < h ? w : 0;
      std::memset(labels_.data() + y * t + keep, 0, static_cast<std::size_t>(t - keep));
    }
    mask.write_tile(tx, ty, labels_.data());
  }

  Renderer renderer_;
  JpegTileEncoder encoder_;
  std::vector<std::uint8_t> labels_;
  std::array<std::vector<std::uint8_t>, kLevel + 1> rgb_;
  std::vector<Made> tiles_;
  int top_ = 0;
  bool any_ = false;
};

/// The blocks that may hold something, in Morton order of the quad-tree above them.
inline void list_blocks(const Tissue& tissue, const Pyramid& pyramid, double mpp, int level, int stop,
                        std::int64_t tx, std::int64_t ty,
                        std::vector<std::pair<std::int64_t, std::int64_t>>& found) {
  if (!pyramid.contains(level, tx, ty)) return;
  const double side = std::ldexp(Pyramid::kTile * mpp, level);
  const double x = static_cast<double>(tx) * side, y = static_cast<double>(ty) * side;
  if (tissue.blank(x, y, x + side, y + side) && !tissue.dusty(x, y, x + side, y + side)) return;
  if (level == stop) {
    found.emplace_back(tx, ty);
    return;
  }
  for (int child = 0; child < 4; ++child)
    list_blocks(tissue, pyramid, mpp, level - 1, stop, 2 * tx + child % 2, 2 * ty + child / 2, found);
}

}  // namespace synth

/// "a/slide.tif" -> "a/slide.truth.tif".
inline std::string truth_path(const std::string& slide) {
  const std::size_t slash = slide.find_last_of('/'), dot = slide.find_last_of('.');
  const bool has_extension =
      dot != std::string::npos && dot > 0 && (slash == std::string::npos || dot > slash + 1);
  return (has_extension ? slide.substr(0, dot) : slide) + ".truth.tif";
}

/// Writes the slide to `path` and its mask (1 = nucleus) to truth_path(path). The bytes depend on the options
/// alone, not on the executor. `progress` counts blocks of 2048 x 2048 pixels that are not empty glass.
/// Throws UsageError, ResourceError, Cancelled.
inline void write_synthetic_slide(const std::string& path, const SynthOptions& o, Executor& executor,
                                  const ProgressFn& progress = {}) {
  if (o.width < 1 || o.height < 1 || o.width > (1 << 24) || o.height > (1 << 24))
    throw UsageError("size", "must be 1 to 2^24 pixels");
  if (!(o.mpp >= 0.1 && o.mpp <= 2.0)) throw UsageError("mpp", "must be 0.1 to 2 um per pixel");
  if (!(o.tissue >= 0.0 && o.tissue <= 1.0)) throw UsageError("tissue", "must be 0 to 1");
  if (o.quality < 1 || o.quality > 100) throw UsageError("quality", "must be 1 to 100");

  const synth::Tissue tissue(static_cast<double>(o.width) * o.mpp, static_cast<double>(o.height) * o.mpp,
                             o.tissue, o.seed);
  MaskPyramidOptions m;
  m.width = o.width;
  m.height = o.height;
  m.tile = synth::Pyramid::kTile;
  m.mpp_x = m.mpp_y = o.mpp;
  m.colors = {{255, 255, 255}, {255, 0, 0}};
  m.description = describe_classes({"background", "nucleus"});
  m.software = "microtome " MICROTOME_VERSION;
  MaskPyramidWriter mask(truth_path(path), std::move(m));
  TiffWriter file(path);
  synth::Pyramid pyramid(file, o.width, o.height, o.quality);

  const int top = pyramid.levels() - 1, stop = std::min(synth::Block::kLevel, top);
  std::vector<std::pair<std::int64_t, std::int64_t>> todo;
  synth::list_blocks(tissue, pyramid, o.mpp, top, stop, 0, 0, todo);

  // Batches: drawn in parallel, stored in order.
  const std::size_t batch = executor.workers() == 1 ? 1 : 2 * static_cast<std::size_t>(executor.workers());
  std::vector<std::unique_ptr<synth::Block>> blocks(std::min(batch, todo.size()));
  for (auto& b : blocks) b = std::make_unique<synth::Block>(tissue, o.mpp, o.quality);
  report(progress, "draw", 0, todo.size());
  for (std::size_t first = 0; first < todo.size(); first += batch) {
    const std::size_t n = std::min(batch, todo.size() - first);
    parallel_for(executor, static_cast<int>(n), [&](int i, int) {
      const auto& at = todo[first + static_cast<std::size_t>(i)];
      blocks[static_cast<std::size_t>(i)]->draw(pyramid, mask, at.first, at.second, stop);
    });
    for (std::size_t i = 0; i < n; ++i)
      blocks[i]->store(pyramid, todo[first + i].first, todo[first + i].second);
    report(progress, "draw", first + n, todo.size());
  }
  blocks.clear();
  mask.finish(&executor);
  file.finish(pyramid.finish(o.mpp, "synthetic H&E, seed " + std::to_string(o.seed)));
}

}  // namespace microtome
