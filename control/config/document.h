// A TOML document as plain values, each with the place where it was written. The TOML library stays
// behind this header: document.cc is the only file that knows it.
// Thread: control's.
// Source: TOML 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "control/config/diagnostics.h"

namespace sluice::config {

struct Value;
struct Entry;

// Entries in the order of the file; keys are unique.
struct Table {
    std::vector<Entry> entries;

    const Entry* find(std::string_view key) const;
};
struct Array {
    std::vector<Value> values;
};
// A date, a time or a floating-point number: valid TOML that no key of ours takes.
struct Unused {
    std::string_view kind;  // "a date", for messages; static text
};

struct Value {
    Position at;
    std::variant<Table, Array, std::string, int64_t, bool, Unused> content;

    const Table* table() const { return std::get_if<Table>(&content); }
    const Array* array() const { return std::get_if<Array>(&content); }
    const std::string* text() const { return std::get_if<std::string>(&content); }
    const int64_t* integer() const { return std::get_if<int64_t>(&content); }
    const bool* boolean() const { return std::get_if<bool>(&content); }
};
struct Entry {
    std::string key;
    Position at;  // of the key
    Value value;
};

// Largest file that is read. Ten thousand routes take about 2 MiB; beyond this size it is not a
// configuration file, and parsing it would hold control up for seconds.
inline constexpr size_t kFileBytesMax = 16 * 1024 * 1024;

// Nothing when the text is not TOML; then exactly one error was added, because nothing after it can
// be trusted to mean what it seems to.
std::optional<Table> parse_document(std::string_view text, Diagnostics& diagnostics);

}  // namespace sluice::config
