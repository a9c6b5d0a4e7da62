// Every failure of the library is one exception type that knows which file and which field are at fault.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

#include "text.hpp"

namespace microtome {

/// What went wrong, in terms of who can mend it. The values are the program's exit codes.
enum class ErrorKind {
  usage = 2,     ///< the caller asked for something impossible (option, argument, unavailable ISA)
  input = 3,     ///< a file is damaged, hostile, of another format, or lacks a needed fact
  resource = 4,  ///< memory, disk, device
};

/// Base of all exceptions thrown by microtome. what() is one line: "file: field: message" without empty
/// parts.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string file, std::string field, const std::string& message)
      : std::runtime_error(join(file, field, message)),
        kind_(kind),
        file_(std::move(file)),
        field_(std::move(field)) {}

  ErrorKind kind() const noexcept { return kind_; }
  const std::string& file() const noexcept { return file_; }    ///< path as given, or empty
  const std::string& field() const noexcept { return field_; }  ///< tensor, tag or option, or empty

 private:
  static std::string join(const std::string& file, const std::string& field, const std::string& message) {
    std::string s;
    if (!file.empty()) s += file + ": ";
    if (!field.empty()) s += field + ": ";
    s += message;
    return printable(std::move(s));
  }

  ErrorKind kind_;
  std::string file_, field_;
};

/// A damaged or unsuitable input file.
class InputError : public Error {
 public:
  InputError(std::string file, std::string field, const std::string& message)
      : Error(ErrorKind::input, std::move(file), std::move(field), message) {}
};

/// Not enough memory, disk space or device.
class ResourceError : public Error {
 public:
  ResourceError(std::string file, std::string field, const std::string& message)
      : Error(ErrorKind::resource, std::move(file), std::move(field), message) {}
};

/// An impossible request: `field` is the option or argument.
class UsageError : public Error {
 public:
  UsageError(std::string field, const std::string& message)
      : Error(ErrorKind::usage, std::string(), std::move(field), message) {}
};

}  // namespace microtome
