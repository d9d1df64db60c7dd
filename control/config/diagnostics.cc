#include "control/config/diagnostics.h"

#include <algorithm>
#include <utility>

namespace sluice::config {

void Diagnostics::error(Position at, std::string message) {
    entries_.push_back({Severity::kError, at, std::move(message)});
    ++errors_;
}

void Diagnostics::warning(Position at, std::string message) {
    entries_.push_back({Severity::kWarning, at, std::move(message)});
}

void Diagnostics::append(const Diagnostics& other) {
    entries_.insert(entries_.end(), other.entries_.begin(), other.entries_.end());
    errors_ += other.errors_;
}

std::vector<Diagnostic> Diagnostics::sorted() const {
    // What was found first stays first in one place.
    std::vector<std::pair<Position, size_t>> order;
    for (size_t i = 0; i < entries_.size(); ++i)
        order.emplace_back(entries_[i].at, i);
    std::sort(order.begin(), order.end());
    std::vector<Diagnostic> result;
    for (const auto& [at, index] : order)
        result.push_back(entries_[index]);
    return result;
}

std::vector<std::string> Diagnostics::lines(std::string_view file) const {
    std::vector<std::string> result;
    for (const Diagnostic& entry : sorted()) {
        std::string line(file);
        if (entry.at.line > 0) {
            line += ":" + std::to_string(entry.at.line) + ":" + std::to_string(entry.at.column);
        }
        line += entry.severity == Severity::kWarning ? ": warning: " : ": ";
        result.push_back(line + entry.message);
    }
    return result;
}

std::string in_quotes(std::string_view text) {
    // Long enough for any key, address or host name; a pasted certificate does not fill the screen.
    static constexpr size_t kShownMax = 80;
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string result = "\"";
    size_t shown = 0;
    for (const char character : text) {
        const auto byte = static_cast<uint8_t>(character);
        // Not inside a UTF-8 sequence, so that the message stays valid text.
        if (shown >= kShownMax && (byte & 0xc0) != 0x80) return result + "…\"";
        ++shown;
        if (character == '"' || character == '\\') {
            result += '\\';
            result += character;
        } else if (byte < 0x20 || byte == 0x7f) {
            result += "\\x";
            result += kHex[byte >> 4];
            result += kHex[byte & 15];
        } else {
            result += character;
        }
    }
    return result + "\"";
}

}  // namespace sluice::config
