// The certificate that the client of one connection has shown. TLS has proved that the client holds
// its key; everything else is decided by prove(), for each trust by itself and whenever a date has
// passed. Also on resumed connections: the session's ticket brings the certificates back, and what
// they are worth is asked anew.
// Thread: the worker's. Memory: about 3 KB for each certificate.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/tls/certificate_names.h"
#include "dataplane/tls/trust_store.h"

namespace sluice::tls {

class PeerCertificate final : public ClientCertificate {
  public:
    // `stores` outlives it. `others`: what was sent beside the certificate.
    PeerCertificate(TrustStores& stores, X509Ptr leaf, ChainPtr others);

    Proof prove(const std::shared_ptr<const contract::TrustConfig>& trust, WallTime now) override;

    std::span<const std::string> uris() const override { return names_.uris; }
    std::span<const std::string> dns() const override { return names_.dns; }
    std::span<const std::string> emails() const override { return names_.emails; }
    std::string_view serial() const override { return names_.serial; }
    std::string_view subject() const override { return names_.subject; }
    std::string_view forwarded_pem() const override;
    std::string_view forwarded_info() const override;

  private:
    struct Remembered {
        std::shared_ptr<const contract::TrustConfig> trust;  // held, so the address stays its own
        Proof proof;
        WallTime from{};
        WallTime until{};
    };

    Remembered decide(const std::shared_ptr<const contract::TrustConfig>& trust, WallTime now);

    TrustStores& stores_;
    X509Ptr leaf_;
    ChainPtr others_;
    CertificateNames names_;
    std::vector<WallTime> boundaries_;  // dates of the certificates; sorted
    std::vector<Remembered> remembered_;
    mutable std::optional<std::string> pem_;
    mutable std::optional<std::string> info_;
};

}  // namespace sluice::tls
