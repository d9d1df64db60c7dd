// The files that a configuration names: keys and certificates. Reads them, checks that they fit,
// and keeps secrets only where they are wiped. Thread: control's; reading blocks, which is why
// workers never do it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/config/config.h"
#include "control/config/diagnostics.h"
#include "dataplane/base/random.h"
#include "dataplane/base/result.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/time.h"

namespace sluice::config {

// A file's whole content. Regular files only: a pipe or device would hold control up for ever.
// Errors name the path and the remedy.
Result<std::string> read_file(const std::string& path, size_t bytes_max);

// The bytes of a file that holds secrets; wiped at the end of its life.
class SecretText {
  public:
    SecretText() = default;
    explicit SecretText(std::string text) : text_(std::move(text)) {}
    SecretText(SecretText&& other) noexcept : text_(std::move(other.text_)) { other.clear(); }
    SecretText& operator=(SecretText&& other) noexcept {
        clear();
        text_ = std::move(other.text_);
        other.clear();
        return *this;
    }
    ~SecretText() { clear(); }
    const std::string& text() const { return text_; }

  private:
    void clear() {
        wipe(text_.data(), text_.size());
        text_.clear();
    }
    std::string text_;
};

struct CertificateFiles {
    std::string certificate_pem;  // leaf first
    SecretText private_key_pem;
    std::string ocsp_response;  // DER; empty: none
    WallTime not_after{};
};

// What a server's certificate is checked against, and what it is shown.
struct ServerTlsFiles {
    std::string ca_pem;
    std::shared_ptr<const std::string> machine_cas_pem;  // one for all; null: they do not count
    std::string certificate_pem;
    SecretText private_key_pem;
};

// A CA of client certificates, and its revocation list.
struct TrustFiles {
    std::string name;  // of the files, as written, for people
    std::string anchors_pem;
    std::string crl_pem;
    bool crl_wanted = false;
    std::string fault;  // non-empty: it cannot be used, and why
};

struct Files {
    Secret<32> private_key;
    contract::Key public_key{};                         // of private_key
    std::vector<Secret<32>> preshared_keys;             // one for each peer; zero: none
    std::vector<CertificateFiles> certificates;         // one for each of Config::certificates
    std::vector<std::vector<ServerTlsFiles>> backends;  // one for each server of each backend
    std::vector<ServerTlsFiles> forward_auths;          // one for each of Config::forward_auths
    std::vector<TrustFiles> trusts;                     // none twice
    // For each of Config::routes: the index of its trust, if it asks for client certificates.
    std::vector<std::optional<uint32_t>> route_trusts;
};

// The path that a name in the file stands for: itself, or below the file's folder.
std::string resolved_path(const Config& config, const std::string& path);

// The machine's own CAs are read, once, if a server is to be checked against them: $SSL_CERT_FILE,
// or the file where Debian, Alpine, Fedora, openSUSE and others have them. A machine without is an
// error.
//
// Reports every file that cannot be read, does not hold what it should, does not fit its
// counterpart, or has run out. What concerns client certificates is reported as a warning: it
// closes the routes that need it, and no other (TrustFiles::fault). A private key file that does
// not exist is passed over: `run` makes it first (make_private_key), and `check` may not.
Files read_files(const Config& config, WallTime now, Diagnostics& diagnostics);

// Makes the private key file if there is none: 0600, never half written, in folders made as needed.
// True: it was made.
Result<bool> make_private_key(const std::string& path, Random& random);

// The public half (X25519, RFC 7748).
contract::Key public_key_of(const Secret<32>& private_key);

}  // namespace sluice::config
