// The parts that reading a configuration file is made of (read.h); each adds to the configuration
// what one kind of table says. Thread: control's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/config/config.h"
#include "control/config/document.h"
#include "control/config/table_reader.h"
#include "dataplane/base/result.h"

namespace sluice::config {

// read_listeners.cc
void read_listeners(const TableReader& top, Diagnostics& diagnostics, Config& config);
void read_tls(const Table* table, Diagnostics& diagnostics, Tls& tls);
void read_certificate(const Value& value, Diagnostics& diagnostics, Config& config);

// read_routes.cc
void read_route(const Value& value, Diagnostics& diagnostics, Config& config);

// read_backends.cc
void read_backend(const Value& value, Diagnostics& diagnostics, Config& config);
void read_forward_auth(const Value& value, Diagnostics& diagnostics, Config& config);

// read_limits.cc
void read_offloads(const Table* table, Diagnostics& diagnostics, Offloads& offloads);
void read_limits(const Table* table, Diagnostics& diagnostics, contract::HttpLimits& limits);

// Forms that several parts need.
Result<IpPrefix> parse_prefix(std::string_view text);
// An address and a port that can be used; `example` shows one.
Result<Endpoint> parse_endpoint(std::string_view text, std::string_view example);

}  // namespace sluice::config
