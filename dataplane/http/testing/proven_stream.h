// A stream that says of itself what a TLS stream would: a server name, a client certificate.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/base/byte_stream.h"
#include "dataplane/contract/snapshot.h"

namespace sluice::http::testing {

class FakeCertificate final : public ClientCertificate {
  public:
    Proof prove(const std::shared_ptr<const contract::TrustConfig>& trust, WallTime now) override {
        asked_at = now;
        if (trust.get() != trusted) return {Verdict::kRefused, "of another CA"};
        return {verdict, "as the test says"};
    }
    std::span<const std::string> uris() const override { return uri_names; }
    std::span<const std::string> dns() const override { return dns_names; }
    std::span<const std::string> emails() const override { return email_names; }
    std::string_view serial() const override { return serial_number; }
    std::string_view subject() const override { return subject_text; }
    std::string_view forwarded_pem() const override { return pem; }
    std::string_view forwarded_info() const override { return info; }

    const contract::TrustConfig* trusted = nullptr;
    Verdict verdict = Verdict::kProved;
    std::vector<std::string> uri_names;
    std::vector<std::string> dns_names;
    std::vector<std::string> email_names;
    std::string serial_number;
    std::string subject_text;
    std::string pem;
    std::string info;
    WallTime asked_at{};
};

class ProvenStream final : public ByteStream {
  public:
    // `inner`: null where no byte is moved. The others outlive the stream; null: there are none.
    ProvenStream(std::unique_ptr<ByteStream> inner, const TlsFacts* facts,
                 ClientCertificate* certificate)
        : inner_(std::move(inner)), facts_(facts), certificate_(certificate) {}

    void set_handler(StreamHandler* handler) override { inner_->set_handler(handler); }
    IoResult read(MutableBytes into) override { return inner_->read(into); }
    IoResult write(std::span<const Bytes> pieces) override { return inner_->write(pieces); }
    bool flush() override { return inner_->flush(); }
    void shutdown_write() override { inner_->shutdown_write(); }
    const TlsFacts* tls_facts() const override { return facts_; }
    ClientCertificate* client_certificate() override { return certificate_; }

  private:
    std::unique_ptr<ByteStream> inner_;
    const TlsFacts* facts_;
    ClientCertificate* certificate_;
};

}  // namespace sluice::http::testing
