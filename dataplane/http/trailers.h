// Which trailers pass, and how they are written. README.md holds the rule.
//
// Much software puts trailers among the headers once the body has come. So whatever frames, routes,
// authenticates or describes a message, and whatever says who is calling, must come as a header,
// where it is looked at, or not at all (RFC 9110 section 6.5.1).
//
// Thread: any. Source: RFC 9110 sections 6.5 and 6.6.2, RFC 9112 section 7.1.2.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "dataplane/contract/snapshot.h"
#include "dataplane/wire/http1_message.h"

namespace sluice::http {

// What the route adds to the rule: names that only we or an auth service may say.
struct TrailerRules {
    const contract::HeaderEdits* edits = nullptr;  // null: none
    std::span<const std::string> reserved = {};    // lower case
};

bool may_be_trailer(std::string_view name, const TrailerRules& rules);

// The client takes trailers: "trailers" is among what its TE headers name (RFC 9110 section
// 10.1.4).
bool accepts_trailers(const wire::Http1RequestHead& head);

// The value of a Trailer header: names, all of which may be trailers.
bool may_be_trailer_list(std::string_view value);

// `came`: whole lines, as wire::Http1ChunkedDecoder hands them out. The ones that pass, in order,
// written anew; empty: none does.
std::string write_trailers(std::string_view came, const TrailerRules& rules);

}  // namespace sluice::http
