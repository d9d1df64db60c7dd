// The forms of HTTP inside strings of the configuration file: URLs of servers and services, names
// and values of headers, methods, subject names of client certificates.
// Pure: text in, value or a sentence that says what would be right out. Thread: any.
// Sources: RFC 9110 (tokens, methods, header values), RFC 6265 (cookies), RFC 3986 (authorities).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::config {

// "http://HOST[:PORT]", "https://HOST[:PORT]", "unix:/PATH" or "builtin:welcome"; HOST is an
// address or a name. Weight and TLS are left alone.
Result<contract::ServerConfig> parse_server_url(std::string_view text);

// Where a forward-auth service answers: a server as above, and the path that it is asked for:
// "http://127.0.0.1:4180/oauth2/auth?x=y", "unix:/run/auth.sock:/verify".
struct ServiceUrl {
    contract::ServerConfig server;
    std::string path;  // with its query
};
Result<ServiceUrl> parse_service_url(std::string_view text);

// What a header is named for decides which names are refused: those that decide where a message
// ends, those that belong to one connection, and those by which Sluice tells servers who is calling
// (dataplane/http/header_names.h), because whoever may write them could be anyone.
enum class HeaderUse : uint8_t {
    kCondition,        // of a route
    kRequestEdit,      // written to or taken from requests
    kResponseEdit,     // and responses
    kFromForwardAuth,  // copied from a service's answer to the request
    kToForwardAuth,    // copied from the request to the question
};
// In lower case.
Result<std::string> parse_header_name(std::string_view text, HeaderUse use);

// Each returns an empty string, or what is wrong.
std::string header_value_fault(std::string_view text);
std::string token_fault(std::string_view text);
std::string signin_url_fault(std::string_view text);
// A path that requests can have; "/a/" and "/a" are two.
std::string path_fault(std::string_view text);
// The same, and perhaps a query behind it.
std::string path_and_query_fault(std::string_view text);
// A path prefix that can match a request.
std::string path_prefix_fault(std::string_view text);

// What client certificates are recognised by.
Result<std::string> parse_subject_uri(std::string_view text);
Result<std::string> parse_subject_email(std::string_view text);  // the domain in lower case
// In lower case, without leading zeros and colons: "0A:0b" gives "a0b".
Result<std::string> parse_serial(std::string_view text);

}  // namespace sluice::config
