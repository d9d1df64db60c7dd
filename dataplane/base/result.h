// The result of an operation that the environment or a person's input can make fail.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace sluice {

// One sentence for a person: what is wrong, where, and what would be right. No trailing newline.
struct Error {
    std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(std::string message) {
    return std::unexpected(Error{std::move(message)});
}

}  // namespace sluice
