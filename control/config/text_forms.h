// The forms that values take inside strings of the configuration file: durations, keys, host names.
// Those of HTTP are in http_forms.h. Pure: text in, value or a sentence that says what would be
// right out. Thread: any.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::config {

// "250ms", "5s", "2m", "1h": a whole number above zero and a unit, at most 24 hours.
Result<Duration> parse_duration(std::string_view text);
// The same with another longest one.
Result<Duration> parse_duration(std::string_view text, std::chrono::hours most);

// 32 bytes in base64 with padding, as `wg genkey` and `wg pubkey` write them. Only the canonical
// form: one key has one text.
Result<contract::Key> parse_key(std::string_view text);
std::string key_text(Bytes key);

// A host name as routes and certificates name them, in lower case: labels of letters, digits, '-'
// and '_', with "*." in front for "any one label".
Result<std::string> parse_host(std::string_view text);
// The same, or "*": any host.
Result<std::string> parse_route_host(std::string_view text);

// Checks the name of a network interface by the kernel's rules: empty, or what is wrong.
std::string interface_fault(std::string_view text);

// Checks a name that people give to a peer, route, listener, backend or node: empty, or the fault.
std::string name_fault(std::string_view text);

}  // namespace sluice::config
