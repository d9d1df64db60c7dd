#include "dataplane/http/request_target.h"

#include <algorithm>

#include "dataplane/http/header_names.h"

namespace sluice::http {

using wire::Http1Fault;

namespace {

// What follows "http://" or "https://", or nothing.
std::string_view after_scheme(std::string_view target) {
    for (const std::string_view scheme :
         {std::string_view("http://"), std::string_view("https://")}) {
        if (target.size() > scheme.size() &&
            wire::equals_ignoring_case(target.substr(0, scheme.size()), scheme))
            return target.substr(scheme.size());
    }
    return {};
}

struct TargetParts {
    std::string_view authority;  // absolute-form only
    std::string_view path;
    std::string_view query;
};

std::expected<TargetParts, Http1Fault> split_target(std::string_view target) {
    TargetParts parts;
    // A fragment is never sent.
    if (target.find('#') != std::string_view::npos)
        return std::unexpected(Http1Fault::kTargetSyntax);
    if (target.front() != '/') {
        const std::string_view rest = after_scheme(target);
        const size_t end = std::min(rest.find_first_of("/?"), rest.size());
        if (end == 0) return std::unexpected(Http1Fault::kTargetSyntax);
        parts.authority = rest.substr(0, end);
        target = rest.substr(end);
    }
    const size_t question = std::min(target.find('?'), target.size());
    parts.path = question == 0 ? std::string_view("/") : target.substr(0, question);
    parts.query = target.substr(question);
    return parts;
}

// The one Host header; null if there is none, which HTTP/1.0 allows.
std::expected<const wire::Http1Field*, Http1Fault> find_host(const wire::Http1RequestHead& head) {
    const wire::Http1Field* host = nullptr;
    for (const wire::Http1Field& field : head.fields) {
        const NamedHeader named = recognise(field.name);
        if (named.name != HeaderName::kHost || named.disguised) continue;
        if (host != nullptr) return std::unexpected(Http1Fault::kHostRepeated);
        host = &field;
    }
    if (host == nullptr && head.minor_version > 0) return std::unexpected(Http1Fault::kHostMissing);
    return host;
}

}  // namespace

std::expected<RequestTarget, Http1Fault> read_target(const wire::Http1RequestHead& head,
                                                     TargetStorage& storage) {
    const auto host = find_host(head);
    if (!host) return std::unexpected(host.error());
    RequestTarget target;
    if (*host != nullptr) {
        const auto authority = parse_authority((*host)->value, storage.host);
        if (!authority) return std::unexpected(authority.error());
        target.authority = *authority;
    }
    if (head.target == "*") {
        if (head.method != "OPTIONS") return std::unexpected(Http1Fault::kTargetSyntax);
        target.path = {"/", "/"};
        target.sent = "*";
        return target;
    }
    const auto parts = split_target(head.target);
    if (!parts) return std::unexpected(parts.error());
    if (!parts->authority.empty()) {
        const auto authority = parse_authority(parts->authority, storage.target_host);
        if (!authority) return std::unexpected(authority.error());
        if (*host != nullptr && authority->text != target.authority.text)
            return std::unexpected(Http1Fault::kHostConflict);
        target.authority = *authority;
    }
    const auto path = normalise_path(parts->path, storage.path, storage.generous_path);
    if (!path) return std::unexpected(path.error());
    target.path = *path;
    target.sent = path->path;
    target.query = parts->query;
    return target;
}

}  // namespace sluice::http
