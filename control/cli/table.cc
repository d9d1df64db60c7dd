#include "control/cli/table.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace sluice::cli {

namespace {

// As the terminal shows it: characters, not bytes. (Wide characters would need more; no name that a
// configuration can hold has them.)
size_t width_of(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::vector<std::string_view> lines_of(std::string_view cell) {
    std::vector<std::string_view> lines;
    while (true) {
        const size_t end = cell.find('\n');
        lines.push_back(cell.substr(0, end));
        if (end == std::string_view::npos) return lines;
        cell.remove_prefix(end + 1);
    }
}

}  // namespace

std::string table_text(const std::vector<Column>& columns,
                       const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const Column& column : columns)
        widths.push_back(width_of(column.title));
    for (const auto& row : rows) {
        for (size_t i = 0; i < columns.size(); ++i) {
            for (const std::string_view line : lines_of(row[i])) {
                widths[i] = std::max(widths[i], width_of(line));
            }
        }
    }
    std::string out;
    const auto add_line = [&](auto cell_of) {
        std::string line;
        for (size_t i = 0; i < columns.size(); ++i) {
            const std::string_view cell = cell_of(i);
            const std::string padding(widths[i] - width_of(cell), ' ');
            if (i > 0) line += "  ";
            if (columns[i].align == Align::kRight) line += padding;
            line += cell;
            if (columns[i].align == Align::kLeft) line += padding;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    };
    add_line([&](size_t i) { return columns[i].title; });
    for (const auto& row : rows) {
        size_t height = 1;
        for (const std::string& cell : row)
            height = std::max(height, lines_of(cell).size());
        for (size_t line = 0; line < height; ++line) {
            add_line([&](size_t i) {
                const auto lines = lines_of(row[i]);
                return line < lines.size() ? lines[line] : std::string_view();
            });
        }
    }
    return out;
}

std::string bytes_text(uint64_t bytes) {
    static constexpr auto kUnits = std::to_array<const char*>({"KiB", "MiB", "GiB", "TiB", "PiB"});
    if (bytes < 1024) return std::to_string(bytes) + " B";
    auto value = static_cast<double>(bytes);
    size_t unit = 0;
    value /= 1024;
    // 1023.95 would be shown as "1024.0".
    while (value >= 1023.95 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
    return text.data();
}

std::string count_text(uint64_t count, std::string_view one) {
    return std::to_string(count) + " " + std::string(one) + (count == 1 ? "" : "s");
}

std::string duration_text(int64_t seconds) {
    static constexpr auto kUnits = std::to_array<std::pair<int64_t, const char*>>({
        {86400, "day"},
        {3600, "hour"},
        {60, "minute"},
    });
    for (const auto& [length, name] : kUnits) {
        if (seconds >= length) return count_text(static_cast<uint64_t>(seconds / length), name);
    }
    return count_text(static_cast<uint64_t>(std::max<int64_t>(0, seconds)), "second");
}

}  // namespace sluice::cli
