#include "dataplane/http/path.h"

#include <algorithm>
#include <array>
#include <optional>

#include "dataplane/base/check.h"

namespace sluice::http {

using wire::Http1Fault;

namespace {

bool is_unreserved(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// The byte that "%XX" at the beginning of `text` stands for.
std::optional<uint8_t> encoded_byte(std::string_view text) {
    if (text.size() < 3 || text[0] != '%') return std::nullopt;
    const int high = hex_digit(text[1]);
    const int low = hex_digit(text[2]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<uint8_t>(high * 16 + low);
}

// Segments are put behind each other; dot segments undo themselves.
class PathBuilder {
  public:
    explicit PathBuilder(std::span<char> storage) : storage_(storage) { put('/'); }

    void put(char c) {
        SLUICE_CHECK(size_ < storage_.size());
        storage_[size_++] = c;
    }
    std::string_view segment() const {
        return {storage_.data() + segment_begin_, size_ - segment_begin_};
    }
    // The segment ends here. False: it leads above the root.
    bool end_segment(bool slash_follows) {
        if (segment() == ".") {
            size_ = segment_begin_;
        } else if (segment() == "..") {
            if (segment_begin_ == 1) return false;
            size_ = segment_begin_ - 1;
            while (storage_[size_ - 1] != '/')
                --size_;
        } else if (slash_follows) {
            put('/');
        }
        segment_begin_ = size_;
        return true;
    }
    bool at_root() const { return size_ == 1; }
    std::string_view text() const { return {storage_.data(), size_}; }

  private:
    std::span<char> storage_;
    size_t size_ = 0;
    size_t segment_begin_ = 1;
};

// Nothing in it to decode, remove or worry about: the path of nearly every request.
bool is_plain(std::string_view raw) {
    if (raw.size() > 1 && raw[1] == '/') return false;
    bool plain = true;
    char previous = '\0';
    for (const char c : raw) {
        const bool special = c == '%' || c == ';' || c == '\\' || c == '#';
        plain &= !special & !(previous == '/' && (c == '.' || c == '/'));
        previous = c;
    }
    return plain;
}

// A segment that is "." or ".." once its parameters are cut off: some servers cut, then resolve.
bool hides_dots(std::string_view segment) {
    const size_t semicolon = segment.find(';');
    if (semicolon == std::string_view::npos) return false;
    const std::string_view name = segment.substr(0, semicolon);
    return name == "." || name == "..";
}

std::expected<std::string_view, Http1Fault> build_normal(std::string_view raw,
                                                         std::span<char> storage) {
    PathBuilder path(storage);
    for (size_t i = 1; i <= raw.size(); ++i) {
        if (i == raw.size() || raw[i] == '/') {
            if (hides_dots(path.segment())) return std::unexpected(Http1Fault::kPathAmbiguous);
            const bool again = i < raw.size() && path.at_root();
            if (again) continue;  // a further slash at the beginning
            if (!path.end_segment(i < raw.size()))
                return std::unexpected(Http1Fault::kPathAboveRoot);
            continue;
        }
        const char c = raw[i];
        if (c == '%') {
            const auto byte = encoded_byte(raw.substr(i));
            // An encoded control byte, NUL above all, is data for nobody.
            if (!byte || *byte < 0x20 || *byte == 0x7f)
                return std::unexpected(Http1Fault::kPathSyntax);
            i += 2;
            if (is_unreserved(*byte)) {
                path.put(static_cast<char>(*byte));
            } else {
                constexpr std::string_view kDigits = "0123456789ABCDEF";
                path.put('%');
                path.put(kDigits[*byte >> 4]);
                path.put(kDigits[*byte & 15]);
            }
            continue;
        }
        // A backslash is a slash to some; a fragment is never sent; the rest cannot come through
        // the parser.
        if (c == '\\' || c == '#' || c <= 0x20 || c >= 0x7f)
            return std::unexpected(Http1Fault::kPathSyntax);
        path.put(c);
    }
    return path.text();
}

// Everything decoded that can be, parameters cut off, empty segments joined, dots resolved.
std::expected<std::string_view, Http1Fault> build_generous(std::string_view normal,
                                                           std::span<char> storage) {
    PathBuilder path(storage);
    bool in_parameters = false;
    for (size_t i = 1; i <= normal.size(); ++i) {
        bool slash = i == normal.size() || normal[i] == '/';
        char c = slash ? '/' : normal[i];
        if (c == '%') {
            const uint8_t byte = encoded_byte(normal.substr(i)).value_or('%');
            if (byte == '/' || byte == '\\') {
                // To cut the parameters off first and decode then, or the other way round: two
                // results, and no telling which.
                if (in_parameters) return std::unexpected(Http1Fault::kPathAmbiguous);
                slash = true;
                i += 2;
            } else if (byte > 0x20 && byte < 0x7f && byte != '%') {
                c = static_cast<char>(byte);
                i += 2;
            }
        }
        if (slash) {
            in_parameters = false;
            const bool last = i >= normal.size();
            if (path.segment().empty() && !last) continue;
            if (!path.end_segment(!last)) return std::unexpected(Http1Fault::kPathAmbiguous);
            continue;
        }
        in_parameters = in_parameters || c == ';';
        if (!in_parameters) path.put(c);
    }
    return path.text();
}

bool has_second_reading(std::string_view normal) {
    return normal.find_first_of("%;") != std::string_view::npos ||
           normal.find("//") != std::string_view::npos;
}

}  // namespace

std::expected<NormalPath, Http1Fault> normalise_path(std::string_view raw, std::span<char> storage,
                                                     std::span<char> generous_storage) {
    if (raw.empty() || raw.front() != '/') return std::unexpected(Http1Fault::kPathSyntax);
    if (is_plain(raw)) return NormalPath{raw, raw};
    const auto normal = build_normal(raw, storage);
    if (!normal) return std::unexpected(normal.error());
    const auto generous = read_generously(*normal, generous_storage);
    if (!generous) return std::unexpected(generous.error());
    return NormalPath{*normal, *generous};
}

std::expected<std::string_view, Http1Fault> read_generously(std::string_view normal,
                                                            std::span<char> storage) {
    if (!has_second_reading(normal)) return normal;
    return build_generous(normal, storage);
}

bool is_below(std::string_view path, std::string_view prefix) {
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

}  // namespace sluice::http
