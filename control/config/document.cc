#include "control/config/document.h"

#include <algorithm>
#include <utility>

// Errors come back as values, but for two kinds, because the library (3.3) is too sure of itself.
// It asserts in places that a file can reach ("[;x]" does), and in a release build goes on with
// undefined behaviour; and it calls code unreachable that any "é" outside of quotes reaches, where
// "no" would be the answer. A file must never end a node that runs. So the assertions stay on and
// throw, which parse() below catches, and the unreachable places answer "no" or throw too.
namespace sluice::config {
struct BrokenAssumption {};
[[noreturn]] inline void throw_broken_assumption() {
    throw BrokenAssumption{};
}
}  // namespace sluice::config

#undef NDEBUG
#define TOML_EXCEPTIONS 0
#define TOML_ASSERT(condition) \
    (static_cast<bool>(condition) ? void(0) : ::sluice::config::throw_broken_assumption())
#include <toml++/impl/preprocessor.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE \
    return {}
#include <toml++/toml.h>

namespace sluice::config {

namespace {

// The library builds and destroys tables by recursion, so a name of a hundred thousand parts
// ("a.a.a…") would overflow the stack. Our deepest key has three parts and two brackets; these
// bounds are far above that and far below what a stack holds.
constexpr unsigned kDotsInLineMax = 64;
constexpr unsigned kBracketDepthMax = 32;

uint32_t characters_in(std::string_view text) {
    return static_cast<uint32_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Walks over the text just far enough to know what is inside strings and comments, counts dots and
// brackets outside of them, and says where one is too many.
class DepthScan {
  public:
    explicit DepthScan(std::string_view text) : text_(text) {}

    std::optional<Position> first_excess() {
        while (offset_ < text_.size()) {
            const char character = text_[offset_];
            if (character == '\n') {
                next_line();
            } else if (character == '#') {
                offset_ = std::min(text_.find('\n', offset_), text_.size());
            } else if (character == '"' || character == '\'') {
                skip_string(character);
            } else {
                if (count(character)) return position();
                ++offset_;
            }
        }
        return {};
    }

  private:
    Position position() const {
        return {line_, characters_in(text_.substr(line_start_, offset_ - line_start_)) + 1};
    }

    void next_line() {
        ++offset_;
        ++line_;
        line_start_ = offset_;
        dots_ = 0;
    }

    bool count(char character) {
        if (character == '.') return ++dots_ > kDotsInLineMax;
        if (character == '[' || character == '{') return ++depth_ > kBracketDepthMax;
        if ((character == ']' || character == '}') && depth_ > 0) --depth_;
        return false;
    }

    void skip_string(char quote) {
        const std::string three(3, quote);
        const bool many_lines = text_.substr(offset_, 3) == three;
        offset_ += many_lines ? 3 : 1;
        while (offset_ < text_.size()) {
            const char character = text_[offset_];
            if (many_lines && text_.substr(offset_, 3) == three) {
                offset_ += 3;
                // Up to two quotes may stand directly before the closing three.
                for (int more = 0; more < 2 && text_.substr(offset_, 1) == three.substr(2);
                     ++more) {
                    ++offset_;
                }
                return;
            }
            if (character == '\n') {
                if (!many_lines) return;  // not TOML; the parser says so
                next_line();
                continue;
            }
            const bool escape = character == '\\' && quote == '"';
            if (escape && offset_ + 1 < text_.size() && text_[offset_ + 1] != '\n') ++offset_;
            ++offset_;
            if (!many_lines && character == quote) return;
        }
    }

    std::string_view text_;
    size_t offset_ = 0;
    size_t line_start_ = 0;
    uint32_t line_ = 1;
    unsigned dots_ = 0;
    unsigned depth_ = 0;
};

Position position_of(const toml::source_region& source) {
    return {source.begin.line, source.begin.column};
}

Value convert(const toml::node& node);

Table convert_table(const toml::table& table) {
    Table result;
    result.entries.reserve(table.size());
    for (auto&& [key, node] : table) {
        result.entries.push_back(
            {std::string(key.str()), position_of(key.source()), convert(node)});
    }
    std::sort(result.entries.begin(), result.entries.end(),
              [](const Entry& a, const Entry& b) { return a.at < b.at; });
    return result;
}

Value convert(const toml::node& node) {
    Value result;
    result.at = position_of(node.source());
    switch (node.type()) {
        case toml::node_type::table:
            result.content = convert_table(*node.as_table());
            break;
        case toml::node_type::array: {
            Array array;
            for (const toml::node& element : *node.as_array()) {
                array.values.push_back(convert(element));
            }
            result.content = std::move(array);
            break;
        }
        case toml::node_type::string:
            result.content = node.as_string()->get();
            break;
        case toml::node_type::integer:
            result.content = node.as_integer()->get();
            break;
        case toml::node_type::boolean:
            result.content = node.as_boolean()->get();
            break;
        case toml::node_type::floating_point:
            result.content = Unused{"a number with a fraction"};
            break;
        default:
            result.content = Unused{"a date or time"};
            break;
    }
    return result;
}

// At the end of a file the library counts the end itself, and points a character or a line beyond.
// People are sent to the end of what is there.
Position inside(Position at, std::string_view text) {
    uint32_t line = 1;
    while (line < at.line && text.find('\n') != std::string_view::npos) {
        text.remove_prefix(text.find('\n') + 1);
        ++line;
    }
    const uint32_t behind = characters_in(text.substr(0, text.find('\n'))) + 1;
    return {line, line < at.line ? behind : std::clamp(at.column, uint32_t{1}, behind)};
}

// Nothing when the library stumbled.
std::optional<toml::parse_result> parse(std::string_view text) {
    try {
        return toml::parse(text);
    } catch (const BrokenAssumption&) {
        return {};
    }
}

// The line over which the library stumbles: it reads from the start, so it stumbles over every
// beginning of the text that holds this line, and over none that does not.
uint32_t stumbling_line(std::string_view text) {
    std::vector<size_t> ends;
    for (size_t end = text.find('\n'); end != std::string_view::npos;
         end = text.find('\n', end + 1)) {
        ends.push_back(end + 1);
    }
    const auto found = std::partition_point(ends.begin(), ends.end(), [text](size_t end) {
        return parse(text.substr(0, end)).has_value();
    });
    return static_cast<uint32_t>(found - ends.begin() + 1);
}

}  // namespace

const Entry* Table::find(std::string_view key) const {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [key](const Entry& entry) { return entry.key == key; });
    return found == entries.end() ? nullptr : &*found;
}

std::optional<Table> parse_document(std::string_view text, Diagnostics& diagnostics) {
    if (text.size() > kFileBytesMax) {
        diagnostics.error({}, "the file is larger than " +
                                  std::to_string(kFileBytesMax / (1024 * 1024)) +
                                  " MiB; name a configuration file");
        return {};
    }
    if (const auto excess = DepthScan(text).first_excess()) {
        diagnostics.error(*excess,
                          "nested too deeply; no key of this file needs more than 3 levels");
        return {};
    }
    const std::optional<toml::parse_result> result = parse(text);
    if (!result) {
        diagnostics.error(
            {stumbling_line(text), 1},
            "not valid TOML: this line has a character where none of its kind may be");
        return {};
    }
    const toml::parse_result& parsed = *result;
    if (!parsed) {
        std::string_view why = parsed.error().description();
        static constexpr std::string_view kOpening = "Error while parsing ";
        if (why.starts_with(kOpening)) why.remove_prefix(kOpening.size());
        diagnostics.error(inside(position_of(parsed.error().source()), text),
                          "not valid TOML: " + std::string(why));
        return {};
    }
    return convert_table(parsed.table());
}

}  // namespace sluice::config
