// Every key that the configuration file knows, in one list: where it stands, what it holds, and
// whether this version acts on it already. The manual (conf/default.toml) is tested against it.
// Thread: any; the list is constant.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "control/config/document.h"

namespace sluice::config {

enum class Kind : uint8_t {
    kTable,          // [name]
    kTables,         // [[name]], or a list of inline tables
    kText,           //
    kTexts,          // a list of strings
    kInteger,        //
    kBoolean,        //
    kTextOrInteger,  //
    kSwitch,         // "auto", true or false
    kBooleanOrInteger,
    kBooleanOrTable,
    kHeaders,  // a table whose keys are header names: its reader checks what is in it
};

struct Key {
    // Names from the top of the file downwards, joined by dots: "wireguard.peers.name".
    std::string_view path;
    Kind kind;
    // Says what the key will do, for a key that is in the manual but that this version does not act
    // on yet: such a key is an error, because a setting that is silently ignored is worse than one
    // that is refused. Empty: works.
    std::string_view not_yet{};
};

std::span<const Key> known_keys();

// Checks that every key of the document is known and holds a value of the right type.
// What is wrong is reported here and only here; later stages skip such values.
void check_shape(const Table& document, Diagnostics& diagnostics);

// The type of a value for messages: "a string", "a list".
std::string_view kind_of(const Value& value);
bool fits(const Value& value, Kind kind);

}  // namespace sluice::config
