// Bytes from a stranger, cut in any way, into a TLS server: no crash, never a finished handshake
// (that needs a key exchange with the server's fresh random), and the same decision as when the
// same bytes come at once: the same refusal, or the same answer to the ClientHello.
// Input: four bytes that seed how the rest is cut, then what the stranger sends.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/base/check.h"
#include "dataplane/tls/contexts.h"
#include "dataplane/tls/server_name.h"
#include "dataplane/tls/test_peer.h"

namespace {

using namespace sluice;
using namespace sluice::tls;

struct Node {
    Node() {
        contract::TlsConfig config;
        config.certificates = {
            tls::testing::make_certificate(
                {"a.example.org", "*.example.org", "*.private.example.org"}),
            tls::testing::make_certificate({"a.example.org"}, tls::testing::KeyKind::kRsa)};
        auto trust = std::make_shared<contract::TrustConfig>();
        trust->anchors_pem = config.certificates.front()->certificate_pem;
        config.trusts = {trust};
        config.client_certificate_hosts = {{"*.private.example.org", {0}}, {"b.example.org", {0}}};
        contexts.set_ticket_keys(tls::testing::make_ticket_keys());
        contexts.offer_http2(true);
        SLUICE_CHECK(contexts.apply(config).has_value());
    }
    DropCounters drops;
    Contexts contexts{drops};
};

// What the stranger can tell of the decision, without what is random in it.
struct Decision {
    uint64_t unknown_names = 0;
    uint64_t failures = 0;
    // The types of the records of the answer: one more if it is asked for a certificate. Alerts are
    // left out, because the ClientHello that is too long is refused without one, and in pieces
    // something before its length may be refused with one.
    std::string record_types;

    friend bool operator==(const Decision&, const Decision&) = default;
};

std::string types_of(Bytes records) {
    constexpr uint8_t kAlert = 21;
    std::string types;
    while (records.size() >= 5) {
        if (records[0] != kAlert) types += static_cast<char>(records[0]);
        const size_t size = 5 + size_t{load_be16(records.data() + 3)};
        records = records.subspan(std::min(size, records.size()));
    }
    return types;
}

// `cut` of zero: all at once.
Decision decide(Node& node, Bytes bytes, uint32_t cut) {
    const uint64_t unknown = node.drops.value(DropReason::kTlsUnknownServerName);
    const uint64_t failures = node.drops.value(DropReason::kTlsHandshakeFailed);
    const auto wire = std::make_shared<tls::testing::Wire>();
    tls::testing::Application app(
        node.contexts.accept(std::make_unique<tls::testing::MemoryTransport>(wire)));
    while (!bytes.empty()) {
        // xorshift32; zero stays zero.
        cut ^= cut << 13;
        cut ^= cut >> 17;
        cut ^= cut << 5;
        const size_t part = cut == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 1 + cut % 97);
        wire->to_server.append(as_text(bytes.first(part)));
        bytes = bytes.subspan(part);
        wire->ready();
    }
    SLUICE_CHECK(app.stream->write(std::array{as_bytes("x")}).status != IoStatus::kOk);
    wire->client_finished = true;
    wire->ready();
    SLUICE_CHECK(app.status == IoStatus::kError);
    SLUICE_CHECK(app.received.empty());
    SLUICE_CHECK(!app.stream->tls_facts()->done);
    SLUICE_CHECK(app.stream->client_certificate() == nullptr);
    SLUICE_CHECK(node.contexts.handshakes() == 0);
    SLUICE_CHECK(ERR_peek_error() == 0);
    app.stream.reset();
    SLUICE_CHECK(wire->destroyed);
    return {node.drops.value(DropReason::kTlsUnknownServerName) - unknown,
            node.drops.value(DropReason::kTlsHandshakeFailed) - failures,
            types_of(as_bytes(wire->to_client))};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Node node;
    if (size < 4) return 0;
    const uint32_t cut = load_le32(data);
    const Bytes rest(data + 4, size - 4);

    // A canonical name stays what it is, and a name found in an extension is part of it.
    if (const auto name = host_name_in(rest)) {
        SLUICE_CHECK(name->data() > rest.data() && name->size() < rest.size());
        if (const auto host = canonical_host(*name)) {
            SLUICE_CHECK(canonical_host(as_bytes(*host)) == host);
        }
    }

    SLUICE_CHECK(decide(node, rest, 0) == decide(node, rest, cut));
    return 0;
}
