// A BigTIFF container written in one pass: tiles of any directory in any order, directories last.
// libtiff cannot do this: it writes one directory at a time and cannot let two tiles share their bytes.
// Format: BigTIFF design (Aware Systems, 2007) and TIFF 6.0 sections 2, 15 and 22; little-endian.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"

namespace microtome {

/// Where a stored tile lies in the file. Several tiles may share one place.
struct TileRef {
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
};

namespace detail {
/// Little-endian bytes, whatever the host.
class LittleEndian {
 public:
  void put(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) data_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  const std::vector<std::uint8_t>& data() const { return data_; }
  std::size_t size() const { return data_.size(); }
  void clear() { data_.clear(); }

 private:
  std::vector<std::uint8_t> data_;
};
}  // namespace detail

/// One image file directory. Tags may be added in any order except that they must ascend in the file, which
/// is the caller's duty: add them ascending, tile tags (324, 325) are added by the writer.
class TiffDirectory {
 public:
  std::vector<TileRef> tiles;  ///< row-major, all of them

  void add_short(std::uint16_t tag, const std::vector<std::uint16_t>& v) {
    detail::LittleEndian b;
    for (const auto x : v) b.put(x, 2);
    fields_.push_back({tag, 3, v.size(), b.data()});
  }
  void add_long(std::uint16_t tag, std::uint32_t v) {
    detail::LittleEndian b;
    b.put(v, 4);
    fields_.push_back({tag, 4, 1, b.data()});
  }
  void add_ascii(std::uint16_t tag, const std::string& text) {
    std::vector<std::uint8_t> b(text.begin(), text.end());
    b.push_back(0);
    fields_.push_back({tag, 2, b.size(), b});
  }
  /// A positive number below 4e9, with the largest power of ten as denominator that fits.
  void add_rational(std::uint16_t tag, double v) {
    std::uint32_t den = 1;
    while (den < 1000000000u && v * den * 10.0 < 4294967295.0) den *= 10u;
    detail::LittleEndian b;
    b.put(static_cast<std::uint32_t>(v * den + 0.5), 4);
    b.put(den, 4);
    fields_.push_back({tag, 5, 1, b.data()});
  }
  void add_bytes(std::uint16_t tag, const std::vector<std::uint8_t>& v) {
    fields_.push_back({tag, 7, v.size(), v});
  }

 private:
  friend class TiffWriter;
  struct Field {
    std::uint16_t tag, type;
    std::uint64_t count;
    std::vector<std::uint8_t> bytes;
  };
  std::vector<Field> fields_;
};

/// Writes `path` as a BigTIFF. Until finish() the data are in os::part_path(path), which the destructor
/// removes. Every method throws ResourceError naming the part file (full disk, missing folder).
class TiffWriter {
 public:
  explicit TiffWriter(std::string path)
      : path_(std::move(path)), part_(os::part_path(path_)), file_(part_, os::File::Mode::create) {
    unfinished_ = true;
    try {
      write_header(0);
    } catch (...) {
      os::remove_file(part_);
      throw;
    }
  }
  TiffWriter(const TiffWriter&) = delete;
  TiffWriter& operator=(const TiffWriter&) = delete;
  ~TiffWriter() {
    if (unfinished_) os::remove_file(part_);
  }

  /// Stores one compressed tile behind all others; safe to call from several threads.
  TileRef append(const void* data, std::size_t n) {
    const std::uint64_t at = end_.fetch_add(n);
    file_.write(at, data, n);
    return {at, static_cast<std::uint32_t>(n)};
  }

  /// Writes the directories in order, makes the file valid, flushes it to disk and gives it its name.
  void finish(const std::vector<TiffDirectory>& directories) {
    std::vector<std::uint64_t> next_fields;  // where each directory stores the offset of the next
    std::vector<std::uint64_t> starts;
    for (const TiffDirectory& d : directories) {
      const Written w = write_directory(d);
      starts.push_back(w.start);
      next_fields.push_back(w.next_field);
    }
    for (std::size_t i = 0; i + 1 < directories.size(); ++i) {
      detail::LittleEndian b;
      b.put(starts[i + 1], 8);
      file_.write(next_fields[i], b.data().data(), b.size());
    }
    file_.sync();  // the header goes last: a power cut before it leaves no file that looks complete
    write_header(starts.empty() ? 0 : starts.front());
    file_.sync();
    os::rename_file(part_, path_);
    unfinished_ = false;
  }

 private:
  struct Written {
    std::uint64_t start, next_field;
  };

  void write_header(std::uint64_t first_directory) {
    detail::LittleEndian b;
    b.put('I', 1);
    b.put('I', 1);
    b.put(43, 2);  // BigTIFF
    b.put(8, 2);   // bytes per offset
    b.put(0, 2);
    b.put(first_directory, 8);
    file_.write(0, b.data().data(), b.size());
  }

  std::uint64_t append_aligned(const std::vector<std::uint8_t>& bytes) {
    end_ = (end_ + 7) / 8 * 8;
    return append(bytes.data(), bytes.size()).offset;
  }

  // Tile offsets (8 bytes each) or byte counts (4), in pieces: there may be millions.
  std::uint64_t append_tile_array(const std::vector<TileRef>& tiles, bool offsets) {
    constexpr std::size_t kPiece = 65536;
    end_ = (end_ + 7) / 8 * 8;
    const std::uint64_t start = end_;
    detail::LittleEndian b;
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      if (offsets)
        b.put(tiles[i].offset, 8);
      else
        b.put(tiles[i].bytes, 4);
      if (b.size() >= kPiece || i + 1 == tiles.size()) {
        append(b.data().data(), b.size());
        b.clear();
      }
    }
    return start;
  }

  Written write_directory(const TiffDirectory& d) {
    detail::LittleEndian entries;
    std::uint64_t count = 0;
    auto entry = [&](std::uint16_t tag, std::uint16_t type, std::uint64_t n, std::uint64_t value) {
      entries.put(tag, 2);
      entries.put(type, 2);
      entries.put(n, 8);
      entries.put(value, 8);
      ++count;
    };
    bool tiles_done = false;
    auto tile_tags = [&] {
      const std::uint64_t n = d.tiles.size();
      entry(324, 16, n, n == 1 ? d.tiles[0].offset : append_tile_array(d.tiles, true));
      std::uint64_t counts = 0;
      if (n <= 2)
        for (std::size_t i = 0; i < n; ++i) counts |= std::uint64_t{d.tiles[i].bytes} << (32 * i);
      else
        counts = append_tile_array(d.tiles, false);
      entry(325, 4, n, counts);
      tiles_done = true;
    };
    for (const auto& f : d.fields_) {
      if (!tiles_done && f.tag > 325) tile_tags();
      std::uint64_t value = 0;
      if (f.bytes.size() <= 8)
        for (std::size_t i = 0; i < f.bytes.size(); ++i) value |= std::uint64_t{f.bytes[i]} << (8 * i);
      else
        value = append_aligned(f.bytes);
      entry(f.tag, f.type, f.count, value);
    }
    if (!tiles_done) tile_tags();

    detail::LittleEndian all;
    all.put(count, 8);
    std::vector<std::uint8_t> bytes = all.data();
    bytes.insert(bytes.end(), entries.data().begin(), entries.data().end());
    bytes.resize(bytes.size() + 8, 0);  // next directory: none yet
    const std::uint64_t start = append_aligned(bytes);
    return {start, start + bytes.size() - 8};
  }

  std::string path_, part_;
  os::File file_;
  std::atomic<std::uint64_t> end_{16};
  bool unfinished_ = false;
};

}  // namespace microtome
