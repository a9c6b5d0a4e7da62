// Peak memory of a whole process, so this file holds nothing but its one test.
#include <doctest.h>
#include <microtome/microtome.hpp>

#include <memory>
#include <vector>

using namespace microtome;

TEST_CASE("sessions take the memory that is planned for them") {
  const auto model = load_model("../weights/nuclei-b16.safetensors");
  constexpr int kThreads = 3, kSessions = 8;
  constexpr std::int64_t kSide = 64;  // small, so that rounding counts
  DefaultExecutor executor(kThreads);
  const std::vector<std::uint8_t> image(kSide * kSide * 3, 100);
  std::vector<float> out(kSide * kSide * 2);
  std::vector<std::unique_ptr<Session>> sessions;
  std::uint64_t before = 0;
  for (int i = 0; i <= kSessions; ++i) {
    sessions.push_back(std::make_unique<Session>(model, &executor));
    sessions.back()->run(image.data(), kSide * 3, kSide, kSide, out.data());
    if (i == 0) before = os::peak_memory();  // the threads and all else that exists once
  }
  const double planned =
      kSessions * static_cast<double>(Session::planned_bytes(*model, kSide, kSide, kThreads));
  const double grown = static_cast<double>(os::peak_memory() - before);
  CHECK(grown < 1.15 * planned);  // sanitizers keep an eighth of their own
  CHECK(grown > 0.5 * planned);
}
