// Runs a fuzz target without a fuzzer: over its seeds, over files, and over seeded random mutations of both.
//   replay_<target> [--mutations N] [--seed S] [--write-seeds DIR] [--test-data FOLDER] [FILE or DIR ...]
// --test-data FOLDER: that folder of MICROTOME_TEST_DATA, else of ../shared/data; none there: run without it.
// The same arguments always run the same inputs. An input that crashes, hangs or asks for too much memory
// ends the process; it is kept as ./crash-<target> (ctest: in the build folder).
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz.hpp"

// Sanitizers end the process without a signal; absent (null) in other builds.
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

namespace fs = std::filesystem;

constexpr unsigned kSecondsPerInput = 20;
constexpr std::size_t kLargestFile = 4u << 20;  // larger corpus files are replayed but not mutated
std::string crash_file;                         // NOLINT: read by the signal handler
std::string current;                            // the input being run

// Only async-signal-safe calls.
void keep_input() {
  const int fd = creat(crash_file.c_str(), 0644);
  const char note[] = "fuzz: the input that crashed or hung was kept\n";
  if (fd < 0 || write(fd, current.data(), current.size()) < 0 || write(2, note, sizeof note - 1) < 0)
    _exit(99);
}

void on_signal(int signal) {
  keep_input();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run_one(std::string input) {
  current = std::move(input);
  alarm(kSecondsPerInput);
  // A heap copy of the exact size: reads behind the end are visible to sanitizers.
  std::vector<std::uint8_t> bytes(current.begin(), current.end());
  if (LLVMFuzzerTestOneInput(bytes.data(), bytes.size()) != 0) std::abort();
  alarm(0);
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A folder of the external test data, or "" when there are none.
std::string test_data(const std::string& folder) {
  const char* named = std::getenv("MICROTOME_TEST_DATA");
  const fs::path root = named ? named : fs::path(__FILE__).parent_path() / "../../../shared/data";
  if (named && !fs::is_directory(root / folder)) {
    std::fprintf(stderr, "replay: MICROTOME_TEST_DATA=%s has no folder %s\n", named, folder.c_str());
    std::exit(2);
  }
  if (fs::is_directory(root / folder)) return (root / folder).string();
  std::printf("MICROTOME_TEST_DATA is not set: %s is not replayed\n", folder.c_str());
  return "";
}

void add_files(const fs::path& folder, std::vector<fs::path>& files) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
}

class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : random_(seed) {}

  std::string operator()(const std::vector<std::string>& corpus) {
    std::string s = corpus[below(corpus.size())];
    for (std::size_t n = 1 + below(4); n > 0; --n) mutate(s, corpus);
    return s;
  }

 private:
  // Not std::uniform_int_distribution: its numbers differ between C++ libraries.
  std::size_t below(std::size_t n) { return n ? random_() % n : 0; }

  void mutate(std::string& s, const std::vector<std::string>& corpus) {
    const std::size_t at = position(s);
    switch (below(8)) {
      case 0:  // flip a bit
        if (!s.empty()) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 1:  // a random byte
        if (!s.empty()) s[at] = static_cast<char>(below(256));
        break;
      case 2: {  // an integer that programs stumble over, 1 to 8 bytes, either byte order
        static constexpr std::uint64_t kNumbers[] = {0,
                                                     1,
                                                     2,
                                                     0x7f,
                                                     0x80,
                                                     0xff,
                                                     0x7fff,
                                                     0x8000,
                                                     0xffff,
                                                     0x10000,
                                                     0x7fffffff,
                                                     0x80000000,
                                                     0xffffffff,
                                                     0x100000000,
                                                     0x7fffffffffffffff,
                                                     0x8000000000000000,
                                                     0xffffffffffffffff};
        std::string n = microtome_fuzz::little_endian(kNumbers[below(std::size(kNumbers))], 1 << below(4));
        if (below(2)) std::reverse(n.begin(), n.end());
        if (at + n.size() <= s.size()) s.replace(at, n.size(), n);
        break;
      }
      case 3:  // cut the end off
        s.resize(at);
        break;
      case 4:  // remove a piece
        s.erase(at, 1 + below(16));
        break;
      case 5:  // double a piece
        s.insert(at, s.substr(at, 1 + below(64)));
        break;
      case 6: {  // a piece of another input
        const std::string& other = corpus[below(corpus.size())];
        const std::size_t from = below(other.size());
        s.replace(at, std::min<std::size_t>(s.size() - at, 1 + below(64)), other.substr(from, 1 + below(64)));
        break;
      }
      default:  // a digit: the numbers of text formats
        for (std::size_t i = at; i < s.size(); ++i)
          if (s[i] >= '0' && s[i] <= '9') {
            s[i] = static_cast<char>('0' + below(10));
            break;
          }
    }
  }

  // Half of the changes go to the first 256 bytes, where headers are.
  std::size_t position(const std::string& s) {
    return below(below(2) ? s.size() : std::min<std::size_t>(s.size(), 256));
  }

  std::mt19937 random_;
};

}  // namespace

int main(int argc, char** argv) {
  std::size_t mutations = 0;
  std::uint32_t seed = 1;
  std::string seed_folder;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--mutations" && i + 1 < argc) {
      mutations = std::strtoull(argv[++i], nullptr, 10);
    } else if (arg == "--seed" && i + 1 < argc) {
      seed = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    } else if (arg == "--write-seeds" && i + 1 < argc) {
      seed_folder = argv[++i];
    } else if (arg == "--test-data" && i + 1 < argc) {
      const std::string folder = test_data(argv[++i]);
      if (!folder.empty()) add_files(folder, files);
    } else if (fs::is_directory(arg)) {
      add_files(arg, files);
    } else if (fs::is_regular_file(arg)) {
      files.emplace_back(arg);
    } else {
      std::fprintf(stderr, "replay: %s: no such option, file or folder\n", argv[i]);
      return 2;
    }
  }
  std::sort(files.begin(), files.end());  // folder order is the file system's

  crash_file = "crash-" + fs::path(argv[0]).filename().string();
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) std::signal(signal, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);
#ifdef MICROTOME_FUZZ_LIMIT_MEMORY  // not with sanitizers, whose shadow memory takes terabytes of addresses
  // What a header announces must not be believed: 1 GiB of address space is enough for every honest input.
  const rlimit limit = {1u << 30, 1u << 30};
  setrlimit(RLIMIT_AS, &limit);
#endif

  std::vector<std::string> corpus = microtome_fuzz::seeds();
  if (!seed_folder.empty()) {
    fs::create_directories(seed_folder);
    for (std::size_t i = 0; i < corpus.size(); ++i)
      std::ofstream(fs::path(seed_folder) / ("seed" + std::to_string(i)), std::ios::binary) << corpus[i];
  }
  for (const std::string& s : corpus) run_one(s);
  for (const fs::path& path : files) {
    std::string bytes = read_file(path);
    run_one(bytes);
    if (bytes.size() <= kLargestFile) corpus.push_back(std::move(bytes));
  }
  Mutator mutator(seed);
  for (std::size_t i = 0; i < mutations; ++i) run_one(mutator(corpus));
  std::printf("%zu seeds and files, %zu mutations: no crash\n", corpus.size(), mutations);
}
