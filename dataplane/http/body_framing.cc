#include "dataplane/http/body_framing.h"

#include <optional>
#include <string_view>

#include "dataplane/http/connection_options.h"
#include "dataplane/http/header_names.h"

namespace sluice::http {

using wire::Http1Fault;

namespace {

// Digits and nothing else: no sign, no space, no list, no base prefix. Nineteen of them can hold
// every length below 2^63 and cannot overflow 64 bits.
std::optional<uint64_t> parse_length(std::string_view text) {
    if (text.empty() || text.size() > 19) return std::nullopt;
    uint64_t length = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        length = length * 10 + static_cast<uint64_t>(c - '0');
    }
    return length <= INT64_MAX ? std::optional(length) : std::nullopt;
}

struct Facts {
    std::optional<uint64_t> length;
    bool chunked = false;
    bool close = false;
};

// The part of the rules that holds for requests and responses alike.
class Collector {
  public:
    explicit Collector(uint8_t minor_version) : old_version_(minor_version == 0) {}

    std::optional<Http1Fault> take(HeaderName name, std::string_view value) {
        switch (name) {
            case HeaderName::kContentLength:
                return take_length(value);
            case HeaderName::kTransferEncoding:
                return take_coding(value);
            case HeaderName::kConnection:
                return take_connection(value);
            default:
                return std::nullopt;
        }
    }

    std::optional<Http1Fault> finish() const {
        if (facts_.chunked && facts_.length) return Http1Fault::kContentLengthWithTransferEncoding;
        return std::nullopt;
    }
    const Facts& facts() const { return facts_; }

  private:
    std::optional<Http1Fault> take_length(std::string_view value) {
        // Even the same number twice: who sends that has lost track of what it sends.
        if (facts_.length) return Http1Fault::kContentLengthRepeated;
        facts_.length = parse_length(value);
        if (!facts_.length) return Http1Fault::kContentLengthSyntax;
        return std::nullopt;
    }
    std::optional<Http1Fault> take_coding(std::string_view value) {
        if (old_version_) return Http1Fault::kTransferEncodingInOldVersion;
        if (facts_.chunked) return Http1Fault::kTransferEncodingSyntax;
        if (!wire::equals_ignoring_case(value, "chunked"))
            return wire::is_http1_token(value) ? Http1Fault::kTransferEncodingUnknown
                                               : Http1Fault::kTransferEncodingSyntax;
        facts_.chunked = true;
        return std::nullopt;
    }
    std::optional<Http1Fault> take_connection(std::string_view value) {
        ConnectionOptions options(value);
        while (const auto option = options.next()) {
            if (++options_seen_ > kConnectionOptionsMax) return Http1Fault::kConnectionSyntax;
            if (wire::equals_ignoring_case(*option, "close")) facts_.close = true;
        }
        if (options.malformed()) return Http1Fault::kConnectionSyntax;
        return std::nullopt;
    }

    Facts facts_;
    size_t options_seen_ = 0;
    bool old_version_;
};

}  // namespace

bool is_odd_with_body(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "DELETE";
}

std::expected<RequestFraming, Http1Fault> frame_request(const wire::Http1RequestHead& head) {
    Collector collector(head.minor_version);
    RequestFraming framing;
    for (const wire::Http1Field& field : head.fields) {
        const NamedHeader named = recognise(field.name);
        if (named.disguised) continue;
        if (named.name == HeaderName::kExpect) {
            if (!wire::equals_ignoring_case(field.value, "100-continue"))
                return std::unexpected(Http1Fault::kExpectUnknown);
            framing.expects_continue = true;
        }
        if (const auto fault = collector.take(named.name, field.value))
            return std::unexpected(*fault);
    }
    if (const auto fault = collector.finish()) return std::unexpected(*fault);

    const Facts& facts = collector.facts();
    if (facts.chunked) {
        framing.body = {BodyKind::kChunked, 0};
    } else if (facts.length) {
        framing.body = {BodyKind::kLength, *facts.length};
    }
    // A client of 1.0 gets its answer and the end of the connection: RFC 9112 section 9.3 forbids
    // intermediaries to keep such connections on the strength of "keep-alive". It also cannot be
    // told to continue (RFC 9110 section 10.1.1).
    const bool has_body = framing.body.kind == BodyKind::kChunked || framing.body.length > 0;
    framing.close = facts.close || head.minor_version == 0;
    framing.expects_continue = framing.expects_continue && head.minor_version > 0 && has_body;
    return framing;
}

std::expected<ResponseFraming, Http1Fault> frame_response(const wire::Http1ResponseHead& head,
                                                          bool to_head) {
    Collector collector(head.minor_version);
    for (const wire::Http1Field& field : head.fields) {
        const NamedHeader named = recognise(field.name);
        if (named.disguised) continue;
        if (const auto fault = collector.take(named.name, field.value))
            return std::unexpected(*fault);
    }
    if (const auto fault = collector.finish()) return std::unexpected(*fault);

    const Facts& facts = collector.facts();
    ResponseFraming framing;
    framing.reusable = !facts.close && head.minor_version > 0;
    const bool never_has_body = head.status < 200 || head.status == 204;
    if (never_has_body || to_head || head.status == 304) {
        if (facts.length && !never_has_body) {
            framing.has_length_only = true;
            framing.length_only = *facts.length;
        }
        // A server that announces a body where there is none may well send one: nothing that
        // follows on this connection can be trusted to be the next response.
        if (never_has_body && (facts.chunked || facts.length.value_or(0) > 0))
            framing.reusable = false;
        return framing;
    }
    if (facts.chunked) {
        framing.body = {BodyKind::kChunked, 0};
    } else if (facts.length) {
        framing.body = {BodyKind::kLength, *facts.length};
    } else {
        framing.body = {BodyKind::kUntilClose, 0};
        framing.reusable = false;
    }
    return framing;
}

}  // namespace sluice::http
