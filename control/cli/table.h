// Text in aligned columns, and numbers as people read them.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::cli {

enum class Align : uint8_t { kLeft, kRight };

struct Column {
    std::string_view title;
    Align align = Align::kLeft;
};

// Rows under titles, two spaces between columns, no trailing space. A cell may hold several lines.
std::string table_text(const std::vector<Column>& columns,
                       const std::vector<std::vector<std::string>>& rows);

std::string bytes_text(uint64_t bytes);      // "17 B", "1.2 MiB"
std::string duration_text(int64_t seconds);  // "12 seconds", "1 minute", "3 hours", "5 days"
std::string count_text(uint64_t count, std::string_view one);  // "1 peer", "3 peers"

}  // namespace sluice::cli
