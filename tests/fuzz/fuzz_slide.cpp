// Slides and images: any file is refused with an error that names it, or every rectangle of every level can
// be asked for. Damaged tiles either throw or, with BadTile::fill, become white.
#include <tiffio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz.hpp"
#include "microtome/slide/registry.hpp"

namespace {

namespace fs = std::filesystem;
using microtome::BadTile;
using microtome_fuzz::require;

/// A file name of this process's own, removed at the end.
class Scratch {
 public:
  Scratch() : path_((fs::temp_directory_path() / ("microtome-fuzz-" + std::to_string(getpid()))).string()) {}
  ~Scratch() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }
  void write(const std::uint8_t* data, std::size_t size) const {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  std::string read() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

 private:
  std::string path_;
};

const Scratch& scratch() {
  static const Scratch s;
  return s;
}

// Two levels of tiles, or strips when `tile` is 0.
std::string small_tiff(const char* mode, int compression, std::uint32_t tile, const char* description) {
  TIFF* t = TIFFOpen(scratch().path().c_str(), mode);
  require(t != nullptr, "the seed can be written");
  for (std::uint32_t side : {40u, 20u}) {
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, side);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, side - 3);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_COMPRESSION, compression);
    if (*description) TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, description);
    if (side == 20) TIFFSetField(t, TIFFTAG_SUBFILETYPE, FILETYPE_REDUCEDIMAGE);
    if (tile) {
      TIFFSetField(t, TIFFTAG_TILEWIDTH, tile);
      TIFFSetField(t, TIFFTAG_TILELENGTH, tile);
    } else {
      TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, 8);
    }
    const std::uint32_t parts = tile ? TIFFNumberOfTiles(t) : TIFFNumberOfStrips(t);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(tile ? tile * tile * 3 : side * 8 * 3));
    for (std::uint32_t i = 0; i < parts; ++i) {
      for (std::size_t k = 0; k < pixels.size(); ++k) pixels[k] = static_cast<std::uint8_t>(k * 7 + i * 31);
      const auto n = static_cast<tmsize_t>(pixels.size());
      require((tile ? TIFFWriteEncodedTile(t, i, pixels.data(), n)
                    : TIFFWriteEncodedStrip(t, i, pixels.data(), n)) > 0,
              "the seed's pixels can be written");
    }
    TIFFWriteDirectory(t);
  }
  TIFFClose(t);
  return scratch().read();
}

std::string small_png() {
  microtome::PngWriter writer(scratch().path(), 20, 10, 3);
  const std::vector<std::uint8_t> row(60, 130);
  for (int y = 0; y < 10; ++y) writer.write_rows(row.data(), 1, row.size());
  writer.finish();
  return scratch().read();
}

void read_corners(const microtome::Slide& slide, BadTile policy) {
  const auto reader = slide.open_reader(policy);
  constexpr std::int64_t kSide = 48;
  std::vector<std::uint8_t> rgb(kSide * kSide * 3);
  const std::size_t levels = std::min<std::size_t>(slide.levels().size(), 6);
  for (std::size_t l = 0; l < levels; ++l) {
    const microtome::SlideLevel& level = slide.levels()[l];
    const std::int64_t places[][2] = {
        {0, 0}, {level.width - kSide / 2, level.height - kSide / 2}, {level.width / 2, -9}};
    for (const auto& at : places) {
      try {
        reader->read_level(static_cast<int>(l), at[0], at[1], kSide, kSide, rgb.data(), kSide * 3);
      } catch (const microtome::Error& e) {
        require(policy == BadTile::fail || e.kind() == microtome::ErrorKind::resource,
                "BadTile::fill does not throw");
      }
    }
  }
}

}  // namespace

std::vector<std::string> microtome_fuzz::seeds() {
  std::vector<std::string> s = {
      small_tiff("w", COMPRESSION_NONE, 16, ""),
      small_tiff("w8", COMPRESSION_ADOBE_DEFLATE, 16, ""),
      small_tiff("wb", COMPRESSION_LZW, 0, ""),
      small_tiff(
          "w", COMPRESSION_JPEG, 16,
          "Aperio Image Library v11\n40x37 [0,0 40x37] (16x16) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"),
      small_png(),
  };
  return s;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  scratch().write(data, size);
  try {
    const auto slide = microtome::open_slide(scratch().path());
    require(!slide->levels().empty(), "a slide has a level");
    for (const auto& level : slide->levels())
      require(level.width > 0 && level.height > 0, "levels have pixels");
    read_corners(*slide, BadTile::fail);
    read_corners(*slide, BadTile::fill);
  } catch (const microtome::Error& e) {
    require(e.file() == scratch().path() || e.kind() == microtome::ErrorKind::resource,
            "errors name the file");
    require(std::string(e.what()).find('\n') == std::string::npos, "errors are one line");
  }
  return 0;
}
