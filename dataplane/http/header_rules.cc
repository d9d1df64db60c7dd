#include "dataplane/http/header_rules.h"

#include <algorithm>
#include <array>

#include "dataplane/http/connection_options.h"
#include "dataplane/http/header_names.h"
#include "dataplane/http/trailers.h"

namespace sluice::http {

namespace {

// The headers that the message's own Connection headers name: they are about this connection.
class NamedByConnection {
  public:
    explicit NamedByConnection(std::span<const wire::Http1Field> fields) {
        for (const wire::Http1Field& field : fields) {
            if (recognise(field.name).name == HeaderName::kConnection) take(field.value);
        }
    }
    bool has(std::string_view name) const {
        for (size_t i = 0; i < count_; ++i) {
            if (wire::equals_ignoring_case(names_[i], name)) return true;
        }
        return false;
    }

  private:
    void take(std::string_view value) {
        ConnectionOptions options(value);
        while (const auto option = options.next()) {
            // These name no header, and are what nearly every Connection header holds.
            if (wire::equals_ignoring_case(*option, "close") ||
                wire::equals_ignoring_case(*option, "keep-alive"))
                continue;
            if (count_ < names_.size()) names_[count_++] = *option;  // body_framing refused more
        }
    }

    std::array<std::string_view, kConnectionOptionsMax> names_;
    size_t count_ = 0;
};

// Who asks, and for what: the same to servers and to auth services.
void write_origin(std::string_view client_address, bool encrypted, const Authority& authority,
                  wire::Http1HeadWriter& writer) {
    writer.field("X-Forwarded-For", client_address);
    writer.field("X-Real-Ip", client_address);
    writer.field("X-Forwarded-Proto", encrypted ? "https" : "http");
    writer.field("X-Forwarded-Host", authority.text);
    const uint16_t usual = encrypted ? 443 : 80;
    writer.field("X-Forwarded-Port", uint64_t{authority.port != 0 ? authority.port : usual});
}

char folded(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<char>(c | 0x20);
    return c == '_' ? '-' : c;
}

bool is_edited(const contract::HeaderEdits* edits, std::string_view name) {
    if (edits == nullptr) return false;
    const auto same = [name](std::string_view other) { return is_same_name(name, other); };
    return std::ranges::any_of(edits->remove, same) ||
           std::ranges::any_of(edits->set, same, &std::pair<std::string, std::string>::first);
}

// Names that the configuration must not touch were refused with it; here is the second lock.
void write_set(const contract::HeaderEdits* edits, wire::Http1HeadWriter& writer) {
    if (edits == nullptr) return;
    for (const auto& [name, value] : edits->set) {
        if (is_editable(name)) writer.field(name, value);
    }
}

// What no client may say: what we say, what the route says, what the auth service says.
bool passes_to_server(const ForwardedRequest& forwarded, std::string_view name) {
    const HeaderName known = recognise(name).name;
    // Host, framing and Expect are written by us; the rest of the known ones does not pass. With
    // underscores they pass even less.
    if (known != HeaderName::kOther && known != HeaderName::kDate) return false;
    if (is_edited(forwarded.edits, name)) return false;
    return std::ranges::none_of(forwarded.reserved,
                                [name](const auto& other) { return is_same_name(name, other); });
}

// A name of ours, and what stands around a value.
constexpr size_t kLineMax = 64;

size_t set_size(const contract::HeaderEdits* edits) {
    size_t size = 0;
    if (edits == nullptr) return size;
    for (const auto& [name, value] : edits->set)
        size += name.size() + value.size() + kLineMax;
    return size;
}

void write_host(const ForwardedRequest& forwarded, wire::Http1HeadWriter& writer) {
    const std::string_view host =
        forwarded.host.empty() ? forwarded.authority.text : forwarded.host;
    std::array<char, 512> padded;
    if (host.size() >= forwarded.host_room || forwarded.host_room > padded.size())
        return writer.field("Host", host);
    // White space behind a value is not part of it (RFC 9112 section 5.1).
    padded.fill(' ');
    std::ranges::copy(host, padded.begin());
    writer.field("Host", std::string_view(padded.data(), forwarded.host_room));
}

void write_certificate(const ForwardedRequest& forwarded, wire::Http1HeadWriter& writer) {
    if (!forwarded.certificate_pem.empty())
        writer.field("X-Forwarded-Tls-Client-Cert", forwarded.certificate_pem);
    if (!forwarded.certificate_info.empty())
        writer.field("X-Forwarded-Tls-Client-Cert-Info", forwarded.certificate_info);
}

void write_trailer_names(std::span<const wire::Http1Field> fields, const NamedByConnection& named,
                         wire::Http1HeadWriter& writer) {
    for (const wire::Http1Field& field : fields) {
        const NamedHeader name = recognise(field.name);
        if (name.name != HeaderName::kTrailer || name.disguised || named.has(field.name)) continue;
        if (may_be_trailer_list(field.value)) writer.field(field.name, field.value);
    }
}

void write_upgrade(wire::Http1HeadWriter& writer) {
    writer.field("Connection", "Upgrade");
    writer.field("Upgrade", "websocket");
}

bool is_replaced_cookie(const ForwardedResponse& forwarded, const wire::Http1Field& field) {
    if (forwarded.cookies.empty() || !wire::equals_ignoring_case(field.name, "set-cookie"))
        return false;
    return std::ranges::any_of(forwarded.cookies, [&field](const std::string& cookie) {
        return cookie_name(cookie) == cookie_name(field.value);
    });
}

}  // namespace

bool is_same_name(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, folded, folded);
}

std::string_view cookie_name(std::string_view set_cookie) {
    std::string_view name = set_cookie.substr(0, set_cookie.find_first_of("=;"));
    while (!name.empty() && (name.front() == ' ' || name.front() == '\t'))
        name.remove_prefix(1);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t'))
        name.remove_suffix(1);
    return name;
}

bool is_editable(std::string_view name) {
    const HeaderName known = recognise(name).name;
    return wire::is_http1_token(name) && known == HeaderName::kOther;
}

bool is_grantable(std::string_view name) {
    if (is_editable(name)) return true;
    // Of the names that never come from outside these are the auth services' own.
    return std::ranges::any_of(
        std::array<std::string_view, 5>{"x-forwarded-user", "x-forwarded-email",
                                        "x-forwarded-groups", "x-forwarded-preferred-username",
                                        "x-forwarded-access-token"},
        [name](std::string_view granted) { return wire::equals_ignoring_case(name, granted); });
}

void write_request(const wire::Http1RequestHead& head, const ForwardedRequest& forwarded,
                   wire::Http1HeadWriter& writer) {
    writer.request_line(head.method, forwarded.path_prefix, forwarded.path, forwarded.query);
    write_host(forwarded, writer);
    const NamedByConnection named_by_connection(head.fields);
    for (const wire::Http1Field& field : head.fields) {
        if (passes_to_server(forwarded, field.name) && !named_by_connection.has(field.name))
            writer.field(field.name, field.value);
    }
    write_set(forwarded.edits, writer);
    for (const auto& [name, value] : forwarded.granted) {
        if (is_grantable(name)) writer.field(name, value);
    }
    if (forwarded.body.kind == BodyKind::kLength) {
        writer.field("Content-Length", forwarded.body.length);
    } else if (forwarded.body.kind == BodyKind::kChunked) {
        writer.field("Transfer-Encoding", "chunked");
    }
    if (forwarded.body.kind == BodyKind::kChunked)
        write_trailer_names(head.fields, named_by_connection, writer);
    if (forwarded.expects_continue) writer.field("Expect", "100-continue");
    if (forwarded.upgrade) {
        write_upgrade(writer);
    } else if (forwarded.accepts_trailers) {
        // TE is about one connection, and says so (RFC 9110 section 10.1.4).
        writer.field("Connection", "TE");
        writer.field("TE", "trailers");
    }
    write_origin(forwarded.client_address, forwarded.encrypted, forwarded.authority, writer);
    if (!forwarded.node.empty()) writer.field("X-Forwarded-Server", forwarded.node);
    if (!forwarded.stripped_prefix.empty())
        writer.field("X-Forwarded-Prefix", forwarded.stripped_prefix);
    write_certificate(forwarded, writer);
    if (!forwarded.peer.empty()) writer.field("X-Sluice-Peer", forwarded.peer);
    writer.end();
}

size_t added_size(const ForwardedRequest& forwarded) {
    size_t size = forwarded.certificate_pem.size() + forwarded.certificate_info.size() +
                  forwarded.path_prefix.size() + forwarded.stripped_prefix.size() +
                  forwarded.node.size() + kLineMax * 4 + set_size(forwarded.edits);
    for (const auto& [name, value] : forwarded.granted)
        size += name.size() + value.size() + kLineMax;
    return size;
}

size_t added_size(const ForwardedResponse& forwarded) {
    size_t size = forwarded.location.size() + set_size(forwarded.edits);
    for (const std::string& cookie : forwarded.cookies)
        size += cookie.size() + kLineMax;
    return size;
}

void write_question(const wire::Http1RequestHead& head, const AuthQuestion& question,
                    wire::Http1HeadWriter& writer) {
    const contract::ForwardAuthConfig& config = question.config;
    const std::string_view method = config.preserve_method ? head.method : "GET";
    writer.request_line(method, config.path, {});
    writer.field("Host", config.authority);
    const NamedByConnection named_by_connection(head.fields);
    for (const wire::Http1Field& field : head.fields) {
        const HeaderName known = recognise(field.name).name;
        const bool credentials = wire::equals_ignoring_case(field.name, "proxy-authorization");
        const bool passes =
            known == HeaderName::kOther || known == HeaderName::kDate || credentials;
        const auto same = [&field](const std::string& name) {
            return wire::equals_ignoring_case(name, field.name);
        };
        const bool wanted =
            config.request_headers.empty() || std::ranges::any_of(config.request_headers, same);
        if (passes && wanted && !named_by_connection.has(field.name))
            writer.field(field.name, field.value);
    }
    write_origin(question.client_address, question.encrypted, question.authority, writer);
    writer.field("X-Forwarded-Method", head.method);
    writer.field("X-Forwarded-Uri", question.path, question.query);
}

void write_response(const wire::Http1ResponseHead& head, const ForwardedResponse& forwarded,
                    wire::Http1HeadWriter& writer) {
    writer.status_line(head.status, head.reason);
    const NamedByConnection named_by_connection(head.fields);
    bool has_date = false;
    for (const wire::Http1Field& field : head.fields) {
        const NamedHeader named = recognise(field.name);
        switch (named.name) {
            case HeaderName::kDate:
                has_date =
                    has_date || (!named.disguised && !is_edited(forwarded.edits, field.name));
                break;
            case HeaderName::kContentLength:
            case HeaderName::kTransferEncoding:
            case HeaderName::kConnection:
            case HeaderName::kHopByHop:
            case HeaderName::kTrailer:
                continue;
            default:
                break;
        }
        if (named_by_connection.has(field.name) || is_edited(forwarded.edits, field.name) ||
            is_replaced_cookie(forwarded, field))
            continue;
        const bool moved =
            !forwarded.location.empty() && wire::equals_ignoring_case(field.name, "location");
        writer.field(field.name, moved ? forwarded.location : field.value);
    }
    if (head.status >= 200) {
        write_set(forwarded.edits, writer);
        for (const std::string& cookie : forwarded.cookies)
            writer.field("Set-Cookie", cookie);
        const ResponseFraming& framing = forwarded.framing;
        if (framing.body.kind == BodyKind::kLength) {
            writer.field("Content-Length", framing.body.length);
        } else if (framing.has_length_only) {
            writer.field("Content-Length", framing.length_only);
        } else if (forwarded.chunked) {
            writer.field("Transfer-Encoding", "chunked");
            write_trailer_names(head.fields, named_by_connection, writer);
        }
        if (!has_date) writer.field("Date", forwarded.date);
        if (forwarded.close) writer.field("Connection", "close");
    }
    if (forwarded.upgrade) write_upgrade(writer);
    writer.end();
}

}  // namespace sluice::http
