// Bytes from a stranger, cut in any way, into a TLS server: no crash, and never a finished
// handshake, because that needs a key exchange with the server's fresh random.
// Input: four bytes that seed how the rest is cut, then what the stranger sends.
#include <array>
#include <cstddef>
#include <cstdint>

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
            tls::testing::make_certificate({"a.example.org", "*.example.org"}),
            tls::testing::make_certificate({"a.example.org"}, tls::testing::KeyKind::kRsa)};
        SLUICE_CHECK(contexts.apply(config).has_value());
    }
    DropCounters drops;
    Contexts contexts{drops};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Node node;
    if (size < 4) return 0;
    uint32_t cut = load_le32(data);
    Bytes rest(data + 4, size - 4);

    // A canonical name stays what it is, and a name found in an extension is part of it.
    if (const auto name = host_name_in(rest)) {
        SLUICE_CHECK(name->data() > rest.data() && name->size() < rest.size());
        if (const auto host = canonical_host(*name)) {
            SLUICE_CHECK(canonical_host(as_bytes(*host)) == host);
        }
    }

    const auto wire = std::make_shared<tls::testing::Wire>();
    tls::testing::Application app(
        node.contexts.accept(std::make_unique<tls::testing::MemoryTransport>(wire)));
    while (!rest.empty()) {
        // xorshift32; a seed of zero gives all at once.
        cut ^= cut << 13;
        cut ^= cut >> 17;
        cut ^= cut << 5;
        const size_t part = cut == 0 ? rest.size() : std::min<size_t>(rest.size(), 1 + cut % 97);
        wire->to_server.append(as_text(rest.first(part)));
        rest = rest.subspan(part);
        wire->ready();
    }
    SLUICE_CHECK(app.stream->write(std::array{as_bytes("x")}).status != IoStatus::kOk);
    wire->client_finished = true;
    wire->ready();
    SLUICE_CHECK(app.status == IoStatus::kError);
    SLUICE_CHECK(app.received.empty());
    SLUICE_CHECK(!app.stream->tls_facts()->done);
    SLUICE_CHECK(node.contexts.handshakes() == 0);
    SLUICE_CHECK(ERR_peek_error() == 0);
    app.stream.reset();
    SLUICE_CHECK(wire->destroyed);
    return 0;
}
