// The structure of a TIFF or BigTIFF file: its directories and the values of their tags, nothing decoded.
// Every count and offset is checked against the file before memory is allocated or data are read; libtiff
// would repair or guess in silence what is refused here by name. (TIFF 6.0 section 2; BigTIFF design.)
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/os.hpp"

namespace microtome::tiff {

/// Tags this reader knows, named as in TIFF 6.0.
enum Tag : std::uint16_t {
  kNewSubfileType = 254,
  kImageWidth = 256,
  kImageLength = 257,
  kBitsPerSample = 258,
  kCompression = 259,
  kPhotometric = 262,
  kFillOrder = 266,
  kImageDescription = 270,
  kStripOffsets = 273,
  kOrientation = 274,
  kSamplesPerPixel = 277,
  kRowsPerStrip = 278,
  kStripByteCounts = 279,
  kXResolution = 282,
  kYResolution = 283,
  kPlanarConfiguration = 284,
  kResolutionUnit = 296,
  kSoftware = 305,
  kColorMap = 320,
  kTileWidth = 322,
  kTileLength = 323,
  kTileOffsets = 324,
  kTileByteCounts = 325,
  kSubIfds = 330,
  kExtraSamples = 338,
  kSampleFormat = 339,
  kXmlPacket = 700,
  kNdpiFormat = 65420,
};

inline const char* tag_name(Tag tag) {
  switch (tag) {
    case kNewSubfileType:
      return "NewSubfileType";
    case kImageWidth:
      return "ImageWidth";
    case kImageLength:
      return "ImageLength";
    case kBitsPerSample:
      return "BitsPerSample";
    case kCompression:
      return "Compression";
    case kPhotometric:
      return "PhotometricInterpretation";
    case kFillOrder:
      return "FillOrder";
    case kImageDescription:
      return "ImageDescription";
    case kStripOffsets:
      return "StripOffsets";
    case kOrientation:
      return "Orientation";
    case kSamplesPerPixel:
      return "SamplesPerPixel";
    case kRowsPerStrip:
      return "RowsPerStrip";
    case kStripByteCounts:
      return "StripByteCounts";
    case kXResolution:
      return "XResolution";
    case kYResolution:
      return "YResolution";
    case kPlanarConfiguration:
      return "PlanarConfiguration";
    case kResolutionUnit:
      return "ResolutionUnit";
    case kSoftware:
      return "Software";
    case kColorMap:
      return "ColorMap";
    case kTileWidth:
      return "TileWidth";
    case kTileLength:
      return "TileLength";
    case kTileOffsets:
      return "TileOffsets";
    case kTileByteCounts:
      return "TileByteCounts";
    case kSubIfds:
      return "SubIFDs";
    case kExtraSamples:
      return "ExtraSamples";
    case kSampleFormat:
      return "SampleFormat";
    case kXmlPacket:
      return "XMLPacket";
    case kNdpiFormat:
      return "NDPI format flag";
  }
  return "tag";
}

/// One tag of a directory; `where` is the offset of its value in the file (inside the directory if it fits).
struct Entry {
  std::uint16_t tag = 0, type = 0;
  std::uint64_t count = 0, where = 0;
};

/// One image file directory.
struct Directory {
  std::uint64_t offset = 0;
  std::string name;  ///< as errors call it: "directory 3", "directory 0 SubIFD 1"
  std::vector<Entry> entries;

  const Entry* find(Tag tag) const {
    for (const Entry& e : entries)
      if (e.tag == tag) return &e;  // of duplicates the first counts, as in libtiff
    return nullptr;
  }
  bool has(Tag tag) const { return find(tag) != nullptr; }
};

/// Bytes of one value of a TIFF field type, 0 for an unknown type.
inline std::uint64_t type_size(std::uint16_t type) {
  static constexpr std::uint8_t size[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};
  return type < sizeof size ? size[type] : 0;
}

inline bool is_tiff(const unsigned char* head, std::size_t n) {
  if (n < 4) return false;
  const bool little = head[0] == 'I' && head[1] == 'I', big = head[0] == 'M' && head[1] == 'M';
  const int magic = little ? head[2] | head[3] << 8 : head[3] | head[2] << 8;
  return (little || big) && (magic == 42 || magic == 43);
}

/// An open TIFF. Immutable after construction: shared by all readers of a slide.
class TiffFile {
 public:
  static constexpr std::size_t kMaxDirectories = 4096, kMaxEntries = 4096;

  /// Reads the header and every directory of the main chain. Throws InputError.
  explicit TiffFile(const std::string& path) : file_(path, os::File::Mode::read), size_(file_.size()) {
    unsigned char head[16] = {};
    const std::size_t got = file_.read_some(0, head, sizeof head);
    if (!is_tiff(head, got)) fail("header", "not a TIFF file");
    big_endian_ = head[0] == 'M';
    big_tiff_ = decode(head + 2, 2) == 43;
    if (got < (big_tiff_ ? 16u : 8u)) fail("header", "truncated");
    if (big_tiff_ && (decode(head + 4, 2) != 8 || decode(head + 6, 2) != 0))
      fail("header", "BigTIFF with offsets of " + std::to_string(decode(head + 4, 2)) + " bytes, 8 expected");
    read_chain(big_tiff_ ? decode(head + 8, 8) : decode(head + 4, 4));
  }

  const std::string& path() const { return file_.path(); }
  const os::File& file() const { return file_; }
  std::uint64_t size() const { return size_; }
  bool big_endian() const { return big_endian_; }
  const std::vector<Directory>& directories() const { return directories_; }

  /// Throws InputError naming the file and `where`.
  [[noreturn]] void fail(const std::string& where, const std::string& message) const {
    throw InputError(path(), where, message);
  }

  /// The directory at `offset`, without the offset of the next one. Throws InputError.
  Directory read_directory(std::uint64_t offset, std::string name) const {
    std::uint64_t ignored = 0;
    return read_directory(offset, std::move(name), ignored);
  }

  /// The first `limit` values of an unsigned integer tag; empty when the tag is absent. Throws InputError.
  std::vector<std::uint64_t> numbers(const Directory& d, Tag tag, std::uint64_t limit) const {
    const Entry* e = d.find(tag);
    if (!e) return {};
    switch (e->type) {
      case 1:
      case 3:
      case 4:
      case 13:
      case 16:
      case 18:
        break;  // BYTE SHORT LONG IFD LONG8 IFD8
      default:
        fail(d.name,
             std::string(tag_name(tag)) + " has type " + std::to_string(e->type) + ", not an integer");
    }
    const std::uint64_t n = e->count < limit ? e->count : limit;
    const std::size_t size = static_cast<std::size_t>(type_size(e->type));
    const std::vector<unsigned char> bytes = raw(d, *e, n);
    std::vector<std::uint64_t> values(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = decode(bytes.data() + i * size, size);
    return values;
  }

  /// The single value of an integer tag, `otherwise` when absent. Throws InputError.
  std::uint64_t number(const Directory& d, Tag tag, std::uint64_t otherwise) const {
    const std::vector<std::uint64_t> v = numbers(d, tag, 1);
    if (d.has(tag) && v.empty()) fail(d.name, std::string(tag_name(tag)) + " has no value");
    return v.empty() ? otherwise : v[0];
  }

  /// The value of an integer tag that must be present. Throws InputError.
  std::uint64_t required(const Directory& d, Tag tag) const {
    if (!d.has(tag)) fail(d.name, std::string(tag_name(tag)) + " is missing");
    return number(d, tag, 0);
  }

  /// A RATIONAL, FLOAT or DOUBLE tag; nothing when absent, damaged, of another type or divided by zero.
  std::optional<double> real(const Directory& d, Tag tag) const {
    const Entry* e = d.find(tag);
    if (!e || e->count < 1 || !fits(*e, 1)) return std::nullopt;
    if (e->type == 5) {
      const auto bytes = raw(d, *e, 1);
      const std::uint64_t denominator = decode(bytes.data() + 4, 4);
      if (denominator == 0) return std::nullopt;
      return static_cast<double>(decode(bytes.data(), 4)) / static_cast<double>(denominator);
    }
    if (e->type == 11) {
      const auto bits = static_cast<std::uint32_t>(decode(raw(d, *e, 1).data(), 4));
      float v;
      std::memcpy(&v, &bits, 4);
      return static_cast<double>(v);
    }
    if (e->type == 12) {
      const std::uint64_t bits = decode(raw(d, *e, 1).data(), 8);
      double v;
      std::memcpy(&v, &bits, 8);
      return v;
    }
    return std::nullopt;
  }

  /// Up to `limit` bytes of a text tag, cut at the first zero byte; "" when absent, damaged or not text.
  std::string text(const Directory& d, Tag tag, std::uint64_t limit) const {
    const Entry* e = d.find(tag);
    if (!e || (e->type != 2 && e->type != 1 && e->type != 7)) return "";  // ASCII BYTE UNDEFINED
    const std::uint64_t n = e->count < limit ? e->count : limit;
    if (!fits(*e, n)) return "";
    const auto bytes = raw(d, *e, n);
    const std::string s(bytes.begin(), bytes.end());
    return s.substr(0, s.find('\0'));
  }

 private:
  std::uint64_t decode(const unsigned char* p, std::size_t n) const {
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v = v << 8 | p[big_endian_ ? i : n - 1 - i];
    return v;
  }

  bool fits(const Entry& e, std::uint64_t n) const {
    const std::uint64_t size = type_size(e.type);
    return size != 0 && e.where <= size_ && n <= (size_ - e.where) / size;
  }

  // The bytes of the first n values of an entry, n <= e.count.
  std::vector<unsigned char> raw(const Directory& d, const Entry& e, std::uint64_t n) const {
    if (!fits(e, n))
      fail(d.name, std::string(tag_name(static_cast<Tag>(e.tag))) + ": " + std::to_string(e.count) +
                       " values at offset " + std::to_string(e.where) + " do not fit in the file");
    std::vector<unsigned char> bytes(static_cast<std::size_t>(n * type_size(e.type)));
    file_.read(e.where, bytes.data(), bytes.size());
    return bytes;
  }

  Directory read_directory(std::uint64_t offset, std::string name, std::uint64_t& next) const {
    Directory d;
    d.offset = offset;
    d.name = std::move(name);
    const std::uint64_t count_size = big_tiff_ ? 8 : 2, entry_size = big_tiff_ ? 20 : 12,
                        offset_size = big_tiff_ ? 8 : 4;
    if (offset < 8 || offset > size_ || size_ - offset < count_size)
      fail(d.name, "at offset " + std::to_string(offset) + ", outside the file");
    unsigned char word[8];
    file_.read(offset, word, static_cast<std::size_t>(count_size));
    const std::uint64_t count = decode(word, static_cast<std::size_t>(count_size));
    if (count == 0 || count > kMaxEntries) fail(d.name, "has " + std::to_string(count) + " tags");
    const std::uint64_t bytes = count * entry_size;
    if (size_ - offset - count_size < bytes) fail(d.name, "does not fit in the file");
    std::vector<unsigned char> table(static_cast<std::size_t>(bytes));
    file_.read(offset + count_size, table.data(), table.size());
    for (std::uint64_t i = 0; i < count; ++i) {
      const unsigned char* p = table.data() + i * entry_size;
      Entry e;
      e.tag = static_cast<std::uint16_t>(decode(p, 2));
      e.type = static_cast<std::uint16_t>(decode(p + 2, 2));
      const std::size_t wide = static_cast<std::size_t>(offset_size);
      e.count = decode(p + 4, wide);
      // A value that fits in the offset field is stored there.
      const std::uint64_t size = type_size(e.type), inside = offset + count_size + i * entry_size + 4 + wide;
      e.where = size > 0 && e.count <= offset_size / size ? inside : decode(p + 4 + wide, wide);
      d.entries.push_back(e);
    }
    // A file cut right behind its last directory may lack the four or eight bytes that end the chain.
    const std::uint64_t end = offset + count_size + bytes;
    next = 0;
    if (size_ - end >= offset_size) {
      file_.read(end, word, static_cast<std::size_t>(offset_size));
      next = decode(word, static_cast<std::size_t>(offset_size));
    }
    return d;
  }

  void read_chain(std::uint64_t offset) {
    std::unordered_set<std::uint64_t> seen;
    while (offset != 0) {
      const std::string name = "directory " + std::to_string(directories_.size());
      if (!seen.insert(offset).second) fail(name, "the chain of directories is a loop");
      if (directories_.size() == kMaxDirectories)
        fail(name, "more than " + std::to_string(kMaxDirectories) + " directories");
      std::uint64_t next = 0;
      directories_.push_back(read_directory(offset, name, next));
      // Hamamatsu NDPI stores 64-bit offsets in a classic TIFF: its chain cannot be followed by this rule.
      if (directories_.back().has(kNdpiFormat)) break;
      offset = next;
    }
    if (directories_.empty()) fail("header", "the file has no directory");
  }

  os::File file_;
  std::uint64_t size_ = 0;
  bool big_endian_ = false, big_tiff_ = false;
  std::vector<Directory> directories_;
};

}  // namespace microtome::tiff
