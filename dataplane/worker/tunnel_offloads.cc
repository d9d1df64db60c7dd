#include "dataplane/worker/tunnel_offloads.h"

#include "dataplane/crypto/aead_backend.h"

namespace sluice::worker {

namespace {

crypto::AeadChoice choice_of(contract::AeadLibrary library) {
    switch (library) {
        case contract::AeadLibrary::kIpsecMb:
            return crypto::AeadChoice::kIpsecMb;
        case contract::AeadLibrary::kOpenssl:
            return crypto::AeadChoice::kOpenssl;
        case contract::AeadLibrary::kAuto:
            break;
    }
    return crypto::AeadChoice::kAuto;
}

}  // namespace

io::DatagramPortOptions datagram_port_options(const contract::OffloadConfig& config,
                                              uint16_t port) {
    using contract::Wanted;
    return {.port = port,
            .gso = config.udp_gso != Wanted::kOff,
            .gro = config.udp_gro != Wanted::kOff,
            .test_gso = config.udp_gso == Wanted::kAuto,
            .test_gro = config.udp_gro == Wanted::kAuto};
}

void choose_cipher(contract::AeadLibrary library) {
    crypto::choose_aead(choice_of(library));
}

contract::OffloadReport cipher_report() {
    const crypto::AeadStatus status = crypto::aead_status();
    contract::OffloadReport report{.name = "aead_ipsec_mb",
                                   .state = "on",
                                   .reason = status.why_not_ipsec_mb,
                                   .uses = crypto::ipsec_mb_packets()};
    if (status.backend == crypto::AeadBackend::kOpenssl) {
        const bool is_choice = status.why_not_ipsec_mb.empty();
        report.state = is_choice ? "off" : "unsupported";
        if (is_choice) report.reason = "switched off";
    }
    return report;
}

}  // namespace sluice::worker
