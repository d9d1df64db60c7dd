// What the files that make views share: how JSON is written. Thread: any.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "dataplane/base/time.h"

namespace sluice::admin {

// Keys stay in the order in which they are written here, which is the order to read them in.
using Json = nlohmann::ordered_json;

// Names come from a file that may hold anything; a byte that is not UTF-8 must not end us.
std::string text_of(const Json& json);

// Whole seconds, rounded down.
int64_t seconds_of(Duration duration);

// RFC 3339, in UTC; null for no time.
Json time_json(WallTime time);

}  // namespace sluice::admin
