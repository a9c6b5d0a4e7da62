// JPEG compression of TIFF tiles with libjpeg-turbo: abbreviated streams, tables stored once in JPEGTables.
// Format: TIFF Technical Note 2 (new-style JPEG, compression 7), YCbCr 4:2:0.
#pragma once
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "../core/error.hpp"

namespace microtome {

/// Compresses tiles of one size and quality. One per thread.
class JpegTileEncoder {
 public:
  JpegTileEncoder(int side, int quality) : side_(side) {
    c_.err = jpeg_std_error(&error_.base);
    error_.base.error_exit = [](j_common_ptr c) {
      std::longjmp(reinterpret_cast<ErrorManager*>(c->err)->jump, 1);
    };
    error_.base.output_message = [](j_common_ptr) {};
    if (setjmp(error_.jump)) fail();
    jpeg_create_compress(&c_);
    c_.image_width = c_.image_height = static_cast<JDIMENSION>(side);
    c_.input_components = 3;
    c_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c_);  // YCbCr 4:2:0
    jpeg_set_quality(&c_, quality, TRUE);
    c_.dct_method = JDCT_ISLOW;
    c_.write_JFIF_header = FALSE;  // the TIFF tags say what a JFIF header would
  }
  ~JpegTileEncoder() { jpeg_destroy_compress(&c_); }
  JpegTileEncoder(const JpegTileEncoder&) = delete;
  JpegTileEncoder& operator=(const JpegTileEncoder&) = delete;

  /// The JPEGTables tag: quantisation and Huffman tables that all tiles share.
  std::vector<std::uint8_t> tables() { return run(nullptr); }

  /// One tile of side x side interleaved RGB pixels.
  std::vector<std::uint8_t> encode(const std::uint8_t* rgb) { return run(rgb); }

 private:
  struct ErrorManager {
    jpeg_error_mgr base;
    std::jmp_buf jump;
  };

  [[noreturn]] static void fail() { throw ResourceError("", "", "JPEG compression failed (out of memory)"); }

  std::vector<std::uint8_t> run(const std::uint8_t* rgb) {
    memory_ = nullptr;
    size_ = 0;
    if (!compress(rgb)) {
      std::free(memory_);
      fail();
    }
    std::vector<std::uint8_t> out(memory_, memory_ + size_);
    std::free(memory_);
    return out;
  }

  // Nothing here has a destructor: libjpeg reports errors by longjmp.
  bool compress(const std::uint8_t* rgb) {
    if (setjmp(error_.jump)) return false;
    jpeg_mem_dest(&c_, &memory_, &size_);
    if (!rgb) {
      jpeg_suppress_tables(&c_, FALSE);
      jpeg_write_tables(&c_);
      return true;
    }
    jpeg_suppress_tables(&c_, TRUE);
    jpeg_start_compress(&c_, FALSE);
    while (c_.next_scanline < c_.image_height) {
      JSAMPROW row =
          const_cast<JSAMPROW>(rgb + std::size_t{3} * static_cast<std::size_t>(side_) * c_.next_scanline);
      jpeg_write_scanlines(&c_, &row, 1);
    }
    jpeg_finish_compress(&c_);
    return true;
  }

  int side_;
  jpeg_compress_struct c_{};
  ErrorManager error_{};
  unsigned char* memory_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace microtome
