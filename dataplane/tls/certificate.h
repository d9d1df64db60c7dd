// One certificate with its chain and key, parsed once per worker and used by every handshake that
// chooses it. Memory: about 7 KB for a P-256 leaf, 4 KB for each further certificate of the chain.
// Thread: the worker's that parsed it; the objects belong to that worker's OpenSSL library context.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/counters.h"
#include "dataplane/base/result.h"
#include "dataplane/contract/snapshot.h"
#include "dataplane/tls/ocsp_staple.h"
#include "dataplane/tls/openssl_ptr.h"

namespace sluice::tls {

using Digest = std::array<uint8_t, 32>;

// Reads private keys out of PEM. Setting up OpenSSL's decoders takes ten times as long as decoding
// one key, so one reader serves all the certificates of a snapshot.
class KeyReader {
  public:
    explicit KeyReader(OSSL_LIB_CTX* library);
    KeyReader(const KeyReader&) = delete;  // the decoder writes to this object
    KeyReader& operator=(const KeyReader&) = delete;

    // The first private key in the text. Null: there is none, or it is encrypted.
    KeyPtr read(const std::string& pem);

  private:
    EVP_PKEY* decoded_ = nullptr;
    DecoderPtr decoder_;
};

class Certificate {
  public:
    // Error: not PEM, no certificate, the key is encrypted or belongs to another certificate.
    static Result<std::shared_ptr<const Certificate>> parse(
        const contract::CertificateConfig& config, OSSL_LIB_CTX* library, KeyReader& keys);

    // Makes a connection that has not sent anything yet answer with this certificate; a second one
    // with another type of key stands beside it, and OpenSSL takes the one that the client can
    // verify. False: OpenSSL refuses it (the key is weaker than the security level allows).
    bool install(SSL* ssl) const;

    int key_type() const { return EVP_PKEY_get_base_id(key_.get()); }  // EVP_PKEY_EC, EVP_PKEY_RSA
    const Digest& digest() const { return digest_; }                   // SHA-256 of the leaf
    X509* leaf() const { return leaf_.get(); }

    const OcspStaple& staple() const { return staple_; }
    // How often the staple was sent; counted by who sends it.
    Counter& staples_sent() const { return staples_sent_; }

  private:
    Certificate() = default;

    X509Ptr leaf_;
    ChainPtr chain_;
    KeyPtr key_;
    Digest digest_{};
    OcspStaple staple_;
    mutable Counter staples_sent_;
};

// What one server name is answered with: usually one certificate, several if they differ in the
// type of their keys.
struct CertificateSet : std::enable_shared_from_this<CertificateSet> {
    explicit CertificateSet(std::vector<std::shared_ptr<const Certificate>> members);

    bool has_key_type(int type) const;

    std::vector<std::shared_ptr<const Certificate>> certificates;
    // Goes into each session ticket and must be equal for it to be taken back: a session that began
    // under one set of certificates cannot be resumed under another. It is made of the certificates
    // alone, so that it is the same after a reload that changes other things.
    Digest session_context{};
};

}  // namespace sluice::tls
