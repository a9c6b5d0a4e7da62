// Every call to the operating system in one place. Linux today; a Windows port replaces the bodies below.
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"

namespace microtome::os {

/// Text of errno `e`, e.g. "No such file or directory".
inline std::string error_text(int e) {
  return std::strerror(e);
}

/// Seconds of a monotonic clock.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// CPU seconds (user + system) used by this process so far.
inline double process_cpu_seconds() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  auto s = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return s(r.ru_utime) + s(r.ru_stime);
}

/// Asks for huge pages behind [data, data + bytes). A hint: where it is not followed, nothing changes.
inline void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef MADV_HUGEPAGE
  madvise(data, bytes, MADV_HUGEPAGE);
#endif
}

/// CPUs this process may run on (affinity respected), at least 1.
inline int cpu_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    const int n = CPU_COUNT(&set);
    if (n > 0) return n;
  }
  const long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? static_cast<int>(n) : 1;
}

/// Physical memory in bytes, 0 if unknown.
inline std::uint64_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) : 0;
}

/// Largest resident set of this process so far, in bytes. Of the program alone: the figure of getrusage
/// outlives exec and would contain the peak of whoever started it.
inline std::uint64_t peak_memory() {
  if (std::FILE* f = std::fopen("/proc/self/status", "re")) {
    char line[128];
    unsigned long long kb = 0;
    while (std::fgets(line, sizeof line, f))
      if (std::sscanf(line, "VmHWM: %llu", &kb) == 1) break;
    std::fclose(f);
    if (kb > 0) return kb * 1024u;
  }
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return static_cast<std::uint64_t>(r.ru_maxrss) * 1024u;
}

inline bool is_terminal(std::FILE* f) {
  return isatty(fileno(f)) != 0;
}

inline bool exists(const std::string& path) {
  struct stat s {};
  return stat(path.c_str(), &s) == 0;
}

inline bool is_directory(const std::string& path) {
  struct stat s {};
  return stat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode);
}

/// What tells one file from another whatever the paths to it: device and inode; {0, 0} for a missing file.
using FileId = std::pair<std::uint64_t, std::uint64_t>;

inline FileId file_id(const std::string& path) {
  struct stat s {};
  return stat(path.c_str(), &s) == 0 ? FileId(s.st_dev, s.st_ino) : FileId();
}

/// Whether both paths lead to one existing file.
inline bool same_file(const std::string& a, const std::string& b) {
  return exists(a) && file_id(a) == file_id(b);
}

/// Names of what a directory holds, hidden ones left out, in the order of their bytes. Throws InputError.
inline std::vector<std::string> list_directory(const std::string& path) {
  const auto fail = [&](int e) { throw InputError(path, "", "cannot list the directory: " + error_text(e)); };
  struct Close {
    void operator()(DIR* d) const { closedir(d); }
  };
  const std::unique_ptr<DIR, Close> directory(opendir(path.c_str()));
  if (!directory) fail(errno);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;  // what tells the end from an error
    const dirent* entry = readdir(directory.get());
    if (!entry && errno != 0) fail(errno);
    if (!entry) break;
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Creates `path` and its parents; false if it already exists. Throws ResourceError.
inline bool make_directories(const std::string& path) {
  bool made = false;
  for (std::size_t i = 1; i <= path.size(); ++i) {
    if (i != path.size() && path[i] != '/') continue;
    const std::string part = path.substr(0, i);
    if (mkdir(part.c_str(), 0777) == 0)
      made = true;
    else if (errno != EEXIST)
      throw ResourceError(part, "", "cannot create the directory: " + error_text(errno));
  }
  if (!is_directory(path)) throw ResourceError(path, "", "exists and is not a directory");
  return made;
}

/// Removes a directory; one that holds something stays.
inline void remove_empty_directory(const std::string& path) noexcept {
  rmdir(path.c_str());
}

/// Atomically replaces `to` by `from` (same file system). Throws ResourceError.
inline void rename_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    throw ResourceError(to, "", "cannot rename from " + from + ": " + error_text(errno));
}

/// Removes a file; a missing one is no error.
inline void remove_file(const std::string& path) noexcept {
  unlink(path.c_str());
}

/// The name an unfinished file carries: "dir/mask.tif" -> "dir/.mask.tif.part", so that it sits on the same
/// file system (atomic rename) and no viewer or glob picks it up. Throws ResourceError if `path` is something
/// else than a file: the rename would replace a device or a pipe.
inline std::string part_path(const std::string& path) {
  struct stat s {};
  if (stat(path.c_str(), &s) == 0 && !S_ISREG(s.st_mode))
    throw ResourceError(path, "", "exists and is not a regular file");
  const std::size_t slash = path.find_last_of('/');
  const std::size_t base = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(0, base) + "." + path.substr(base) + ".part";
}

/// An open file with positioned reads and writes: no shared file offset, so every method may be called
/// from several threads at once. Move-only; closes on destruction.
class File {
 public:
  enum class Mode {
    read,       ///< must exist
    create,     ///< created or truncated, for reading and writing
    temporary,  ///< created beside `path`, unlinked at once: disappears with the process
  };

  File() = default;
  File(std::string path, Mode mode) : path_(std::move(path)) {
    int flags = O_CLOEXEC;  // O_NONBLOCK: opening a pipe must not wait for a writer
    flags |= mode == Mode::read ? O_RDONLY | O_NONBLOCK
                                : O_RDWR | O_CREAT | (mode == Mode::create ? O_TRUNC : O_EXCL);
    if (mode == Mode::temporary) path_ += "." + std::to_string(getpid());
    do {
      fd_ = open(path_.c_str(), flags, 0666);
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) {
      const std::string why = "cannot open: " + error_text(errno);
      if (mode == Mode::read) throw InputError(path_, "", why);
      throw ResourceError(path_, "", why);
    }
    if (mode == Mode::temporary) unlink(path_.c_str());
    struct stat s {};
    if (mode == Mode::read && (fstat(fd_, &s) != 0 || !S_ISREG(s.st_mode))) {
      close();
      throw InputError(path_, "", "not a regular file");
    }
  }
  File(File&& o) noexcept : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)) {}
  File& operator=(File&& o) noexcept {
    if (this != &o) {
      close();
      path_ = std::move(o.path_);
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~File() { close(); }

  bool is_open() const noexcept { return fd_ >= 0; }
  int descriptor() const noexcept { return fd_; }
  const std::string& path() const noexcept { return path_; }

  std::uint64_t size() const {
    struct stat s {};
    if (fstat(fd_, &s) != 0) throw InputError(path_, "", "cannot stat: " + error_text(errno));
    return static_cast<std::uint64_t>(s.st_size);
  }

  /// Reads up to `n` bytes at `offset`; returns how many there were before the end of the file.
  std::size_t read_some(std::uint64_t offset, void* to, std::size_t n) const {
    std::size_t done = 0;
    while (done < n) {
      const ssize_t r =
          pread(fd_, static_cast<char*>(to) + done, n - done, static_cast<off_t>(offset + done));
      if (r < 0 && errno == EINTR) continue;
      if (r < 0) throw InputError(path_, "", "cannot read: " + error_text(errno));
      if (r == 0) break;
      done += static_cast<std::size_t>(r);
    }
    return done;
  }

  /// Reads exactly `n` bytes at `offset`; throws InputError naming the offset if the file ends before.
  void read(std::uint64_t offset, void* to, std::size_t n) const {
    if (read_some(offset, to, n) != n)
      throw InputError(
          path_, "",
          "truncated: " + std::to_string(n) + " bytes expected at offset " + std::to_string(offset));
  }

  /// Writes exactly `n` bytes at `offset`. Throws ResourceError (a full disk, mostly).
  void write(std::uint64_t offset, const void* from, std::size_t n) {
    std::size_t done = 0;
    while (done < n) {
      const ssize_t r =
          pwrite(fd_, static_cast<const char*>(from) + done, n - done, static_cast<off_t>(offset + done));
      if (r < 0 && errno == EINTR) continue;
      if (r <= 0) throw ResourceError(path_, "", "cannot write: " + error_text(r < 0 ? errno : ENOSPC));
      done += static_cast<std::size_t>(r);
    }
  }

  /// Forces the data to the disk. Throws ResourceError.
  void sync() {
    if (fsync(fd_) != 0) throw ResourceError(path_, "", "cannot flush to disk: " + error_text(errno));
  }

 private:
  void close() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  std::string path_;
  int fd_ = -1;
};

/// Writes a whole file that appears complete or not at all; an existing one is replaced. Throws
/// ResourceError.
inline void write_file_atomically(const std::string& path, const void* data, std::size_t n) {
  const std::string part = part_path(path);
  try {
    File file(part, File::Mode::create);
    file.write(0, data, n);
    file.sync();
    rename_file(part, path);
  } catch (...) {
    remove_file(part);
    throw;
  }
}

/// Keeps a folder to one run at a time. The lock is on the folder itself: nothing is left behind, and the
/// system releases it however the process ends.
class FolderLock {
 public:
  /// Throws ResourceError when another process, or another lock of this one, holds the folder. A file system
  /// that knows no locks is no reason to refuse.
  explicit FolderLock(const std::string& folder)
      : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0 || flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    close(fd_);
    throw ResourceError(folder, "", "another run is writing here");
  }
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

/// A whole file mapped read-only. An empty file maps to data() == nullptr, size() == 0.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path) {
    const File f(path, File::Mode::read);
    size_ = static_cast<std::size_t>(f.size());
    if (size_ == 0) return;
    void* p = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, f.descriptor(), 0);
    if (p == MAP_FAILED) throw ResourceError(path, "", "cannot map the file: " + error_text(errno));
    data_ = static_cast<const unsigned char*>(p);
  }
  MappedFile(MappedFile&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  MappedFile& operator=(MappedFile&& o) noexcept {
    if (this != &o) {
      unmap();
      data_ = std::exchange(o.data_, nullptr);
      size_ = std::exchange(o.size_, 0);
    }
    return *this;
  }
  ~MappedFile() { unmap(); }

  const unsigned char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

  /// Gives back the memory of the pages wholly inside [from, from + bytes): they are read again when needed.
  void release(const unsigned char* from, std::size_t bytes) const noexcept {
    const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(from) + page - 1) / page * page;
    const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(from) + bytes) / page * page;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }

 private:
  void unmap() noexcept {
    if (data_) munmap(const_cast<unsigned char*>(data_), size_);
  }

  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace microtome::os
