#include "control/config/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "control/config/certificate_files.h"
#include "control/config/text_forms.h"
#include "control/config/trust_files.h"
#include "dataplane/base/check.h"

namespace sluice::config {

namespace {

// A key file is 45 bytes; more than a few lines is another file.
constexpr size_t kKeyFileBytesMax = 4096;
// A chain of ten certificates with large keys has 30 KiB.
constexpr size_t kPemFileBytesMax = 1024 * 1024;
// 40 bytes for each revoked certificate: a list of 300,000, with the room that PEM takes.
constexpr size_t kTrustFileBytesMax = 16 * 1024 * 1024;
// One certificate's response has some 500 bytes, with the responder's own certificates 5 KiB.
constexpr size_t kOcspFileBytesMax = 64 * 1024;

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const { return number_; }

  private:
    int number_;
};

std::string system_reason() {
    switch (errno) {
        case ENOENT:
            return "there is no such file";
        case EACCES:
            return "permission denied; let the user that runs sluice read it";
        case EISDIR:
            return "it is a folder";
        default:
            return std::strerror(errno);
    }
}

// Secrets that others may read are no secrets; the person may have reasons, so it is a warning.
void warn_if_open_to_others(const std::string& path, Position at, Diagnostics& diagnostics) {
    struct stat facts{};
    if (stat(path.c_str(), &facts) != 0 || (facts.st_mode & (S_IROTH | S_IWOTH)) == 0) return;
    diagnostics.warning(at, "every user of this machine may read " + in_quotes(path) +
                                ", which holds a secret; run `chmod o-rwx` on it");
}

Result<Secret<32>> read_key_file(const std::string& path) {
    auto content = read_file(path, kKeyFileBytesMax);
    if (!content) return std::unexpected(content.error());
    const SecretText text(std::move(*content));
    std::string_view line = text.text();
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' ')) {
        line.remove_suffix(1);
    }
    auto key = parse_key(line);
    if (!key) {
        return fail(in_quotes(path) + " holds no key; " + key.error().message);
    }
    const Secret<32> secret(*key);
    wipe(key->data(), key->size());
    if (secret.is_zero()) return fail(in_quotes(path) + " holds a key of zeros; make another");
    return secret;
}

Result<void> system_failure(const std::string& what, const std::string& path) {
    return fail("cannot " + what + " " + in_quotes(path) + ": " + std::strerror(errno));
}

Result<void> write_whole(int descriptor, std::string_view text, const std::string& path) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return system_failure("write", path);
        text.remove_prefix(static_cast<size_t>(written));
    }
    if (fsync(descriptor) != 0) return system_failure("write", path);
    return {};
}

// The content first, under another name and on the disk, then the name: whatever stops us in
// between, the name means a whole file or nothing. link() and not rename(), because a key that
// somebody else made in the meantime must not be replaced.
Result<bool> write_new_file(const std::string& path, std::string_view text) {
    const auto failure = [&path](const std::string& what) {
        return std::unexpected(system_failure(what, path).error());
    };
    const std::string temporary = path + ".new";
    // One that a process left that was killed; in a container even its number would be ours.
    ::unlink(temporary.c_str());
    {
        const Descriptor file(
            ::open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR));
        if (file.number() < 0) return failure("make");
        if (auto written = write_whole(file.number(), text, path); !written) {
            ::unlink(temporary.c_str());
            return std::unexpected(written.error());
        }
    }
    const int linked = ::link(temporary.c_str(), path.c_str());
    const int link_error = errno;
    ::unlink(temporary.c_str());
    errno = link_error;
    if (linked != 0 && link_error == EEXIST) return false;
    if (linked != 0) return failure("make");
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const Descriptor directory(
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.number() < 0 || fsync(directory.number()) != 0) return failure("save");
    return true;
}

// Where the machine has its CAs, all in one file. OpenSSL's variable counts as it does for others.
std::string machine_ca_file() {
    if (const char* const named = std::getenv("SSL_CERT_FILE"); named != nullptr && *named != 0)
        return named;
    constexpr std::array kPlaces = {"/etc/ssl/certs/ca-certificates.crt",
                                    "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                    "/etc/ssl/cert.pem"};
    for (const char* const place : kPlaces) {
        if (::access(place, R_OK) == 0) return place;
    }
    return kPlaces.front();
}

class FileReader {
  public:
    FileReader(const Config& config, WallTime now, Diagnostics& diagnostics)
        : config_(config), now_(now), diagnostics_(diagnostics) {}

    Files read() {
        if (config_.wireguard) read_wireguard(*config_.wireguard);
        for (const Certificate& certificate : config_.certificates) {
            files_.certificates.push_back(read_certificate(certificate));
        }
        for (const Backend& backend : config_.backends) {
            std::vector<ServerTlsFiles>& servers = files_.backends.emplace_back();
            for (const Server& server : backend.servers)
                servers.push_back(read_server(server));
        }
        for (const ForwardAuth& service : config_.forward_auths) {
            files_.forward_auths.push_back(service.server ? read_server(*service.server)
                                                          : ServerTlsFiles{});
        }
        for (const Route& route : config_.routes)
            files_.route_trusts.push_back(read_trust(route));
        return std::move(files_);
    }

  private:
    void read_wireguard(const Wireguard& wireguard) {
        if (const auto key = read_secret(wireguard.private_key_file, true)) {
            files_.private_key = *key;
            files_.public_key = public_key_of(*key);
        }
        for (const Peer& peer : wireguard.peers) {
            Secret<32>& preshared = files_.preshared_keys.emplace_back();
            if (peer.preshared_key_file) {
                if (const auto key = read_secret(*peer.preshared_key_file, false)) preshared = *key;
            }
            if (!files_.private_key.is_zero() && peer.public_key.value == files_.public_key) {
                diagnostics_.error(peer.public_key.at,
                                   "peer " + in_quotes(peer.name.value) +
                                       " has this node's own public key; write the peer's");
            }
        }
    }

    std::optional<Secret<32>> read_secret(const Located<std::string>& file, bool may_be_absent) {
        const std::string path = resolved_path(config_, file.value);
        if (may_be_absent && ::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return {};
        const auto key = read_key_file(path);
        if (!key) {
            diagnostics_.error(file.at, key.error().message);
            return {};
        }
        warn_if_open_to_others(path, file.at, diagnostics_);
        return *key;
    }

    CertificateFiles read_certificate(const Certificate& certificate) {
        CertificateFiles result;
        if (certificate.cert_file.value.empty() || certificate.key_file.value.empty())
            return result;
        const std::string cert_path = resolved_path(config_, certificate.cert_file.value);
        const std::string key_path = resolved_path(config_, certificate.key_file.value);
        auto cert = read_file(cert_path, kPemFileBytesMax);
        auto key = read_file(key_path, kPemFileBytesMax);
        if (!cert) diagnostics_.error(certificate.cert_file.at, cert.error().message);
        if (!key) diagnostics_.error(certificate.key_file.at, key.error().message);
        if (key) {
            result.private_key_pem = SecretText(std::move(*key));
            warn_if_open_to_others(key_path, certificate.key_file.at, diagnostics_);
        }
        if (!cert || !judge(certificate, cert_path, *cert, result)) return result;
        if (key) {
            const std::string fault = key_fault(*cert, result.private_key_pem.text());
            if (!fault.empty()) {
                diagnostics_.error(certificate.key_file.at, in_quotes(key_path) + " " + fault);
            }
        }
        result.certificate_pem = std::move(*cert);
        result.ocsp_response = read_ocsp(certificate);
        return result;
    }

    // Without it clients ask the responder themselves, so that none is better than a wrong one.
    std::string read_ocsp(const Certificate& certificate) {
        if (certificate.ocsp_file.value.empty()) return {};
        const std::string path = resolved_path(config_, certificate.ocsp_file.value);
        auto response = read_file(path, kOcspFileBytesMax);
        const std::string fault = response ? ocsp_fault(*response, now_) : response.error().message;
        if (fault.empty()) return std::move(*response);
        diagnostics_.warning(
            certificate.ocsp_file.at,
            (response ? in_quotes(path) + " " + fault : fault) + "; until then nothing is stapled");
        return {};
    }

    ServerTlsFiles read_server(const Server& server) {
        ServerTlsFiles result;
        if (!server.ca_file.value.empty()) {
            const std::string path = resolved_path(config_, server.ca_file.value);
            result.ca_pem = read_pem(path, server.ca_file.at);
            // A server's own self-signed certificate may stand here, which is none of a CA.
            const auto facts = inspect_certificate(result.ca_pem, {});
            if (!result.ca_pem.empty() && !facts) {
                diagnostics_.error(server.ca_file.at,
                                   in_quotes(path) + " " + facts.error().message);
            }
        } else if (server.settings.kind == contract::ServerKind::kHttps && server.verify.value) {
            result.machine_cas_pem = machine_cas(server.at);
        }
        if (server.cert_file.value.empty() || server.key_file.value.empty()) return result;
        const std::string cert_path = resolved_path(config_, server.cert_file.value);
        const std::string key_path = resolved_path(config_, server.key_file.value);
        result.certificate_pem = read_pem(cert_path, server.cert_file.at);
        result.private_key_pem = SecretText(read_pem(key_path, server.key_file.at));
        if (result.certificate_pem.empty() || result.private_key_pem.text().empty()) return result;
        warn_if_open_to_others(key_path, server.key_file.at, diagnostics_);
        const auto facts = inspect_certificate(result.certificate_pem, {});
        if (!facts) {
            diagnostics_.error(server.cert_file.at,
                               in_quotes(cert_path) + " " + facts.error().message);
            return result;
        }
        const std::string fault = key_fault(result.certificate_pem, result.private_key_pem.text());
        if (!fault.empty()) {
            diagnostics_.error(server.key_file.at, in_quotes(key_path) + " " + fault);
        }
        return result;
    }

    // Null: they cannot be read, and that has been said.
    std::shared_ptr<const std::string> machine_cas(Position at) {
        if (machine_cas_) return *machine_cas_;
        machine_cas_.emplace();
        const std::string path = machine_ca_file();
        auto text = read_file(path, kPemFileBytesMax);
        std::string fault;
        if (!text) {
            fault = text.error().message;
        } else if (const auto facts = inspect_certificate(*text, {}); !facts) {
            fault = in_quotes(path) + " " + facts.error().message;
        }
        if (fault.empty()) {
            *machine_cas_ = std::make_shared<const std::string>(std::move(*text));
        } else {
            diagnostics_.error(at,
                               "this server's certificate must come from one of the machine's own "
                               "CAs, and these cannot be had: " +
                                   fault + "; install ca-certificates, or write \"ca_file\"");
        }
        return *machine_cas_;
    }

    std::string read_pem(const std::string& path, Position at) {
        auto text = read_file(path, kPemFileBytesMax);
        if (text) return std::move(*text);
        diagnostics_.error(at, text.error().message);
        return {};
    }

    std::optional<uint32_t> read_trust(const Route& route) {
        if (!route.auth || route.auth->value != contract::AuthMode::kMtlsStrict) return {};
        const ClientCa& common = config_.tls.client_ca;
        const bool own = !route.client_ca.ca_file.value.empty();
        const Located<std::string>& ca = own ? route.client_ca.ca_file : common.ca_file;
        if (ca.value.empty()) return {};
        Located<std::string> crl = route.client_ca.crl_file;
        // The common list says nothing of what another CA has revoked.
        if (crl.value.empty() && ca.value == common.ca_file.value) crl = common.crl_file;
        const auto [place, fresh] =
            trust_index_.emplace(std::pair(ca.value, crl.value), files_.trusts.size());
        if (fresh) files_.trusts.push_back(make_trust(ca, crl));
        return static_cast<uint32_t>(place->second);
    }

    TrustFiles make_trust(const Located<std::string>& ca, const Located<std::string>& crl) {
        TrustFiles trust;
        trust.name = ca.value;
        trust.crl_wanted = !crl.value.empty();
        if (trust.crl_wanted) trust.name += " with " + crl.value;
        const auto read = [this, &trust](const Located<std::string>& file, std::string& into,
                                         auto find_fault) {
            const std::string path = resolved_path(config_, file.value);
            auto text = read_file(path, kTrustFileBytesMax);
            if (!text) {
                trust.fault = text.error().message;
            } else if (std::string fault = find_fault(*text); !fault.empty()) {
                trust.fault = in_quotes(path) + " " + fault;
            } else {
                into = std::move(*text);
                return true;
            }
            diagnostics_.warning(file.at,
                                 trust.fault + "; until then the routes that need it answer 503");
            return false;
        };
        const bool known = read(ca, trust.anchors_pem,
                                [this](std::string_view pem) { return anchors_fault(pem, now_); });
        if (known && trust.crl_wanted) {
            read(crl, trust.crl_pem, [this, &trust](std::string_view pem) {
                return crl_fault(pem, trust.anchors_pem, now_);
            });
        }
        return trust;
    }

    bool judge(const Certificate& certificate, const std::string& path, std::string_view pem,
               CertificateFiles& result) {
        // A fortnight: time for a person to act, and half of what a 30-day certificate lives after
        // the usual renewal at two thirds.
        static constexpr Duration kSoon = std::chrono::hours(14 * 24);
        std::vector<std::string> hosts;
        for (const auto& host : certificate.hosts)
            hosts.push_back(host.value);
        const auto facts = inspect_certificate(pem, hosts);
        const Position at = certificate.cert_file.at;
        if (!facts) {
            diagnostics_.error(at, in_quotes(path) + " " + facts.error().message);
            return false;
        }
        result.not_after = facts->not_after;
        const std::string end = date_text(facts->not_after);
        if (facts->not_after <= now_) {
            diagnostics_.error(at, "the certificate in " + in_quotes(path) + " expired on " + end +
                                       "; put a new one in its place");
        } else if (facts->not_before > now_) {
            diagnostics_.error(at, "the certificate in " + in_quotes(path) +
                                       " is not valid before " + date_text(facts->not_before) +
                                       "; correct this machine's clock, or use another one");
        } else if (facts->not_after - kSoon <= now_) {
            diagnostics_.warning(
                at, "the certificate in " + in_quotes(path) + " expires on " + end + "; renew it");
        }
        for (size_t i = 0; i < hosts.size(); ++i) {
            if (facts->covers[i]) continue;
            diagnostics_.warning(certificate.hosts[i].at, "the certificate in " + in_quotes(path) +
                                                              " is not for " + in_quotes(hosts[i]) +
                                                              "; clients will refuse it");
        }
        return true;
    }

    const Config& config_;
    WallTime now_;
    Diagnostics& diagnostics_;
    Files files_;
    std::optional<std::shared_ptr<const std::string>> machine_cas_;  // once they were read
    // Files of a CA and its list, to the index in Files::trusts.
    std::map<std::pair<std::string, std::string>, size_t> trust_index_;
};

}  // namespace

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
    const auto cannot = [&path](const std::string& why) {
        return fail("cannot read " + in_quotes(path) + ": " + why);
    };
    // O_NONBLOCK: opening a pipe that nobody writes to would never return.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (file.number() < 0) return cannot(system_reason());
    struct stat facts{};
    if (fstat(file.number(), &facts) != 0) return cannot(system_reason());
    if (S_ISDIR(facts.st_mode)) return cannot("it is a folder");
    if (!S_ISREG(facts.st_mode)) return cannot("it is no regular file");
    if (facts.st_size > static_cast<off_t>(bytes_max)) {
        return cannot("it has more than " + std::to_string(bytes_max) + " bytes");
    }
    // One byte more than it should have, to see that it did not grow. Sized once: a string that
    // grows leaves copies of a secret behind.
    std::string content(static_cast<size_t>(facts.st_size) + 1, '\0');
    size_t filled = 0;
    while (filled < content.size()) {
        const ssize_t got = ::read(file.number(), &content[filled], content.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cannot(system_reason());
        if (got == 0) break;
        filled += static_cast<size_t>(got);
    }
    if (filled == content.size()) return cannot("it is being written to; try again");
    content.resize(filled);
    return content;
}

std::string resolved_path(const Config& config, const std::string& path) {
    if (path.empty()) return path;
    return (std::filesystem::path(config.folder) / path).string();
}

Files read_files(const Config& config, WallTime now, Diagnostics& diagnostics) {
    return FileReader(config, now, diagnostics).read();
}

Result<bool> make_private_key(const std::string& path, Random& random) {
    if (::access(path.c_str(), F_OK) == 0) return false;
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error)
        return fail("cannot make the folder " + in_quotes(folder.string()) + ": " +
                    error.message());
    Secret<32> key;
    random.fill(key.span());
    // Clamped as RFC 7748 section 5 has it, as `wg genkey` writes it.
    key.data()[0] &= 248;
    key.data()[31] = static_cast<uint8_t>((key.data()[31] & 127) | 64);
    const SecretText text(key_text(key.span()) + "\n");
    return write_new_file(path, text.text());
}

contract::Key public_key_of(const Secret<32>& private_key) {
    contract::Key result{};
    size_t length = result.size();
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
        EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key.data(),
                                     private_key.size()),
        EVP_PKEY_free);
    SLUICE_CHECK(key != nullptr);
    SLUICE_CHECK(EVP_PKEY_get_raw_public_key(key.get(), result.data(), &length) == 1);
    return result;
}

}  // namespace sluice::config
