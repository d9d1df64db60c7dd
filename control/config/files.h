// The files that a configuration names: keys and certificates. Reads them, checks that they fit,
// and keeps secrets only where they are wiped. Thread: control's; reading blocks, which is why
// workers never do it.
#pragma once

#include <memory>
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
    WallTime not_after{};
};

struct Files {
    Secret<32> private_key;
    contract::Key public_key{};                  // of private_key
    std::vector<Secret<32>> preshared_keys;      // one for each peer; zero: none
    std::vector<CertificateFiles> certificates;  // one for each of Config::certificates
};

// The path that a name in the file stands for: itself, or below the file's folder.
std::string resolved_path(const Config& config, const std::string& path);

// Reports every file that cannot be read, does not hold what it should, does not fit its
// counterpart, or has run out. A private key file that does not exist is passed over: `run` makes
// it first (make_private_key), and `check` may not.
Files read_files(const Config& config, WallTime now, Diagnostics& diagnostics);

// Makes the private key file if there is none: 0600, never half written, in folders made as needed.
// True: it was made.
Result<bool> make_private_key(const std::string& path, Random& random);

// The public half (X25519, RFC 7748).
contract::Key public_key_of(const Secret<32>& private_key);

}  // namespace sluice::config
