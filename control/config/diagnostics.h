// What is wrong in a configuration file, and where. A reading never stops at the first error: each
// stage adds what it finds, so that a person corrects a file once.
// Thread: control's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::config {

// A place in the file, counted from 1, columns in characters. Line 0: in no place of the file, such
// as a file that cannot be read.
struct Position {
    uint32_t line = 0;
    uint32_t column = 0;

    friend auto operator<=>(const Position&, const Position&) = default;
};

// A value and where it was written. A default stands where its table begins, or in no place.
template <typename T>
struct Located {
    T value{};
    Position at{};
};

enum class Severity : uint8_t {
    kError,    // the file is refused
    kWarning,  // the file is taken; the person should know
};

// `message` is one line: what is wrong; what would be right.
struct Diagnostic {
    Severity severity = Severity::kError;
    Position at;
    std::string message;
};

class Diagnostics {
  public:
    void error(Position at, std::string message);
    void warning(Position at, std::string message);
    void append(const Diagnostics& other);

    bool has_errors() const { return errors_ > 0; }
    size_t error_count() const { return errors_; }
    // In the order of the file; what is in no place comes first.
    std::vector<Diagnostic> sorted() const;
    // One line each: "FILE:LINE:COLUMN: message", warnings as "FILE:LINE:COLUMN: warning: message".
    std::vector<std::string> lines(std::string_view file) const;

  private:
    std::vector<Diagnostic> entries_;
    size_t errors_ = 0;
};

// Text of the file for use in a message: in double quotes, on one line, cut when it is long.
std::string in_quotes(std::string_view text);

}  // namespace sluice::config
