// The name that a client asks for. Pure functions over bytes from outside.
// Source: RFC 6066 section 3; RFC 1035 section 2.3.4 for the lengths.
#pragma once

#include <optional>
#include <string>

#include "dataplane/base/bytes.h"

namespace sluice::tls {

// The host name inside a server_name extension: a list that must hold exactly one name, of type
// host_name, and nothing after it. Nothing: malformed. Several names would leave open which one the
// decision is for.
std::optional<Bytes> host_name_in(Bytes extension);

// Lower case and without a trailing dot, the form in which hosts are configured. Nothing: it cannot
// be the name of a host (empty or too long labels, characters other than letters, digits, hyphen
// and underscore), so it matches no certificate, not even one for a wildcard.
std::optional<std::string> canonical_host(Bytes name);

}  // namespace sluice::tls
