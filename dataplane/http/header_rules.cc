#include "dataplane/http/header_rules.h"

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

void write_port(const ForwardedRequest& forwarded, wire::Http1HeadWriter& writer) {
    const uint16_t usual = forwarded.encrypted ? 443 : 80;
    writer.field("X-Forwarded-Port",
                 uint64_t{forwarded.authority.port != 0 ? forwarded.authority.port : usual});
}

}  // namespace

void write_request(const wire::Http1RequestHead& head, const ForwardedRequest& forwarded,
                   wire::Http1HeadWriter& writer) {
    writer.request_line(head.method, forwarded.path, forwarded.query);
    writer.field("Host", forwarded.authority.text);
    const NamedByConnection named_by_connection(head.fields);
    for (const wire::Http1Field& field : head.fields) {
        const HeaderName name = recognise(field.name).name;
        // Host, framing and Expect are written by us; the rest of the known ones does not pass.
        // With underscores they pass even less.
        const bool passes = name == HeaderName::kOther || name == HeaderName::kDate;
        if (passes && !named_by_connection.has(field.name)) writer.field(field.name, field.value);
    }
    if (forwarded.body.kind == BodyKind::kLength) {
        writer.field("Content-Length", forwarded.body.length);
    } else if (forwarded.body.kind == BodyKind::kChunked) {
        writer.field("Transfer-Encoding", "chunked");
        write_trailer_names(head.fields, named_by_connection, writer);
    }
    if (forwarded.expects_continue) writer.field("Expect", "100-continue");
    if (forwarded.upgrade) {
        write_upgrade(writer);
    } else if (forwarded.accepts_trailers) {
        // TE is about one connection, and says so (RFC 9110 section 10.1.4).
        writer.field("Connection", "TE");
        writer.field("TE", "trailers");
    }
    writer.field("X-Forwarded-For", forwarded.client_address);
    writer.field("X-Forwarded-Proto", forwarded.encrypted ? "https" : "http");
    writer.field("X-Forwarded-Host", forwarded.authority.text);
    write_port(forwarded, writer);
    if (!forwarded.peer.empty()) writer.field("X-Sluice-Peer", forwarded.peer);
    writer.end();
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
                has_date = has_date || !named.disguised;
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
        if (!named_by_connection.has(field.name)) writer.field(field.name, field.value);
    }
    if (head.status >= 200) {
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
