// Md5 and Sha256 against the test vectors of RFC 1321 and FIPS 180-4, whole and in pieces.
#include <doctest.h>

#include <string>

#include "microtome/core/md5.hpp"
#include "microtome/core/sha256.hpp"

namespace {

template <class Digest>
std::string digest(const std::string& text, std::size_t piece = 1u << 20) {
  Digest d;
  for (std::size_t i = 0; i < text.size(); i += piece) {
    const std::string part = text.substr(i, piece);
    d.update(part.data(), part.size());
  }
  return d.hex();
}

}  // namespace

TEST_CASE("md5 reproduces the vectors of RFC 1321") {
  using microtome::Md5;
  CHECK(digest<Md5>("") == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(digest<Md5>("a") == "0cc175b9c0f1b6a831c399e269772661");
  CHECK(digest<Md5>("abc") == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(digest<Md5>("message digest") == "f96b697d7cb7938d525a2f31aaf161d0");
  CHECK(digest<Md5>("12345678901234567890123456789012345678901234567890123456789012345678901234567890") ==
        "57edf4a22be3c955ac49da2e2107b67a");
}

TEST_CASE("sha256 reproduces the vectors of FIPS 180-4") {
  using microtome::Sha256;
  CHECK(digest<Sha256>("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest<Sha256>("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest<Sha256>("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest<Sha256>(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("digests do not depend on how the bytes are split, and lengths around a block are padded right") {
  for (std::size_t n = 50; n <= 130; ++n) {
    const std::string text(n, 'x');
    for (std::size_t piece :
         {std::size_t{1}, std::size_t{7}, std::size_t{63}, std::size_t{64}, std::size_t{65}}) {
      CHECK(digest<microtome::Md5>(text, piece) == digest<microtome::Md5>(text));
      CHECK(digest<microtome::Sha256>(text, piece) == digest<microtome::Sha256>(text));
    }
  }
}

TEST_CASE("hex() leaves the running digest unchanged") {
  microtome::Md5 d;
  d.update("ab", 2);
  d.hex();
  d.update("c", 1);
  CHECK(d.hex() == "900150983cd24fb0d6963f7d28e17f72");
}
