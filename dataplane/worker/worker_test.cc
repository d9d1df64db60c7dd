// Proves that workers serve a snapshot over real sockets: TLS handshake, route, backend, answer;
// that snapshots swapped as fast as control can send them break no request; and that drain and stop
// end a worker in an orderly way. Real threads, so that ThreadSanitizer sees the mailbox at work.
#include "dataplane/worker/worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <string>
#include <thread>

namespace sluice::worker {
namespace {

using namespace std::chrono_literals;

// A self-signed P-256 certificate for one host.
std::shared_ptr<const contract::CertificateConfig> make_certificate(const std::string& host) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(host.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    const std::string names = "DNS:" + host;
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate, key, EVP_sha256());

    auto text_of = [](auto write) {
        BIO* bio = BIO_new(BIO_s_mem());
        write(bio);
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        std::string text(data, static_cast<size_t>(size));
        BIO_free(bio);
        return text;
    };
    auto config = std::make_shared<contract::CertificateConfig>();
    config->hosts = {host};
    config->certificate_pem = text_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
    config->private_key_pem = text_of([&](BIO* bio) {
        PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    X509_free(certificate);
    EVP_PKEY_free(key);
    return config;
}

// Listens on a free loopback port; the descriptor closes with it.
struct Listening {
    int descriptor = -1;
    uint16_t port = 0;

    explicit Listening(bool listen_too = true) {
        descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        // A port found for a worker is bound, not listened on, and shared with it for a moment.
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        REQUIRE(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        if (listen_too) REQUIRE(listen(descriptor, 64) == 0);
        socklen_t size = sizeof address;
        REQUIRE(getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port = ntohs(address.sin_port);
    }
    ~Listening() { close(descriptor); }
};

// Answers every request on every connection with the request's target as the body.
class EchoBackend {
  public:
    EchoBackend() : thread_([this] { accept_loop(); }) {}
    ~EchoBackend() {
        shutdown(listening_.descriptor, SHUT_RDWR);
        thread_.join();
        for (std::thread& thread : connections_)
            thread.join();
    }
    uint16_t port() const { return listening_.port; }

  private:
    void accept_loop() {
        for (;;) {
            const int client = accept4(listening_.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
            if (client < 0) return;
            connections_.emplace_back([client] { serve(client); });
        }
    }

    static void serve(int client) {
        std::string pending;
        char buffer[4096];
        for (;;) {
            const size_t end = pending.find("\r\n\r\n");
            if (end == std::string::npos) {
                const ssize_t got = recv(client, buffer, sizeof buffer, 0);
                if (got <= 0) break;
                pending.append(buffer, static_cast<size_t>(got));
                continue;
            }
            const size_t begin = pending.find(' ') + 1;
            const std::string target = pending.substr(begin, pending.find(' ', begin) - begin);
            pending.erase(0, end + 4);
            const std::string answer =
                "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(target.size()) + "\r\n\r\n" +
                target;
            if (send(client, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
        }
        close(client);
    }

    Listening listening_;
    std::vector<std::thread> connections_;  // of the accepting thread until it has ended
    std::thread thread_;
};

// A blocking TLS client on one connection.
class Client {
  public:
    Client(uint16_t port, const std::string& host) : context_(SSL_CTX_new(TLS_client_method())) {
        descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return;
        ssl_ = SSL_new(context_);
        SSL_set_tlsext_host_name(ssl_, host.c_str());
        SSL_set_fd(ssl_, descriptor_);
        connected_ = SSL_connect(ssl_) == 1;
    }
    ~Client() {
        SSL_free(ssl_);
        SSL_CTX_free(context_);
        close(descriptor_);
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    bool connected() const { return connected_; }

    // The whole answer to one GET, or what came before the connection ended.
    std::string get(const std::string& host, const std::string& target) {
        const std::string request = "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
        if (SSL_write(ssl_, request.data(), static_cast<int>(request.size())) <= 0) return {};
        std::string answer;
        char buffer[4096];
        while (!complete(answer)) {
            const int got = SSL_read(ssl_, buffer, sizeof buffer);
            if (got <= 0) break;
            answer.append(buffer, static_cast<size_t>(got));
        }
        return answer;
    }

  private:
    static bool complete(const std::string& answer) {
        const size_t end = answer.find("\r\n\r\n");
        if (end == std::string::npos) return false;
        std::string head = answer.substr(0, end + 2);
        for (char& c : head)
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        const size_t at = head.find("content-length: ");
        const size_t length = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
        return answer.size() >= end + 4 + length;
    }

    SSL_CTX* context_;
    SSL* ssl_ = nullptr;
    int descriptor_ = -1;
    bool connected_ = false;
};

// Control's side of one worker, with the worker's thread.
class RunningWorker {
  public:
    explicit RunningWorker(std::optional<io::EngineKind> engine, uint32_t index = 0) {
        mailbox_.set_control_waker([this] {
            const std::lock_guard lock(mutex_);
            answered_ = true;
            changed_.notify_all();
        });
        thread_ = std::thread([this, engine, index] {
            run_worker({.index = index, .engine = engine, .tunnel_group = nullptr, .tun = {}},
                       mailbox_, clock_);
        });
    }
    ~RunningWorker() {
        mailbox_.send(contract::Stop{});
        thread_.join();
        mailbox_.set_control_waker(nullptr);
    }

    void send(contract::Command command) { mailbox_.send(std::move(command)); }

    // The next answer of this kind; others that come before it are passed over.
    template <typename Kind>
    std::optional<Kind> await() {
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        for (;;) {
            for (contract::Answer& answer : mailbox_.take_answers()) {
                queue_.push_back(std::move(answer));
            }
            while (!queue_.empty()) {
                contract::Answer answer = std::move(queue_.front());
                queue_.erase(queue_.begin());
                if (auto* found = std::get_if<Kind>(&answer)) return std::move(*found);
            }
            std::unique_lock lock(mutex_);
            if (!changed_.wait_until(lock, deadline, [this] { return answered_; })) return {};
            answered_ = false;
        }
    }

    std::string apply(std::shared_ptr<const contract::Snapshot> snapshot) {
        send(contract::ApplySnapshot{std::move(snapshot)});
        const auto applied = await<contract::Applied>();
        return applied ? applied->error : "no answer";
    }

  private:
    SystemClock clock_;
    contract::Mailbox mailbox_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool answered_ = false;
    std::vector<contract::Answer> queue_;
    std::thread thread_;
};

std::shared_ptr<contract::Snapshot> make_snapshot(
    uint64_t generation, uint16_t listen_port, uint16_t backend_port,
    std::shared_ptr<const contract::CertificateConfig> certificate) {
    auto snapshot = std::make_shared<contract::Snapshot>();
    snapshot->generation = generation;
    const auto loopback = *IpAddress::parse("127.0.0.1");
    snapshot->listeners = {{.name = "secure", .address = {loopback, listen_port}}};
    snapshot->tls.certificates = {std::move(certificate)};
    snapshot->backends = {{.name = "echo",
                           .servers = {{.kind = contract::ServerKind::kHttp,
                                        .address = {loopback, backend_port},
                                        .host = "127.0.0.1",
                                        .weight = 1,
                                        .url = "http://127.0.0.1"}}}};
    snapshot->routes = {
        {.name = "open", .hosts = {"a.test"}, .auth = contract::AuthMode::kPublic, .backend = 0},
        {.name = "closed",
         .hosts = {"a.test"},
         .path_prefix = "/closed",
         .auth = contract::AuthMode::kTailscaleOnly,
         .backend = 0}};
    return snapshot;
}

const auto kBothEngines = {io::EngineKind::kUring, io::EngineKind::kEpoll};

TEST_CASE("a worker answers requests over TLS from a backend") {
    const auto engine = GENERATE(values<io::EngineKind>(kBothEngines));
    EchoBackend backend;
    const Listening reserved(false);
    RunningWorker worker(engine);
    REQUIRE(worker.apply(
                make_snapshot(7, reserved.port, backend.port(), make_certificate("a.test"))) == "");

    Client client(reserved.port, "a.test");
    REQUIRE(client.connected());
    const std::string answer = client.get("a.test", "/hello");
    CHECK(answer.starts_with("HTTP/1.1 200"));
    CHECK(answer.ends_with("\r\n\r\n/hello"));
    CHECK(client.get("a.test", "/closed/x").starts_with("HTTP/1.1 403"));
    CHECK(client.get("b.test", "/").starts_with("HTTP/1.1 404"));

    worker.send(contract::SendReport{.ticket = 42});
    const auto reported = worker.await<contract::Reported>();
    REQUIRE(reported);
    CHECK(reported->ticket == 42);
    CHECK(reported->report.generation == 7);
    CHECK(reported->report.engine == io::name_of(engine));
    CHECK(reported->report.requests == 3);
    CHECK(reported->report.connections_accepted == 1);
}

TEST_CASE("a port in use is named, and the rest of the snapshot is served") {
    EchoBackend backend;
    const Listening reserved(false);
    const int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(taken, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(taken, 1) == 0);
    socklen_t size = sizeof address;
    getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size);
    const uint16_t taken_port = ntohs(address.sin_port);

    RunningWorker worker(std::nullopt);
    auto snapshot = make_snapshot(1, reserved.port, backend.port(), make_certificate("a.test"));
    snapshot->listeners.push_back(
        {.name = "taken", .address = {*IpAddress::parse("127.0.0.1"), taken_port}});
    const std::string error = worker.apply(snapshot);
    CHECK(error.find("\"taken\"") != std::string::npos);
    CHECK(error.find(std::to_string(taken_port)) != std::string::npos);
    Client client(reserved.port, "a.test");
    CHECK(client.get("a.test", "/x").starts_with("HTTP/1.1 200"));
    close(taken);
}

TEST_CASE("snapshots swapped under load fail no request and keep connections open") {
    const auto engine = GENERATE(values<io::EngineKind>(kBothEngines));
    EchoBackend backend;
    const Listening reserved(false);
    const auto certificate = make_certificate("a.test");
    std::array<RunningWorker, 2> workers{RunningWorker(engine, 0), RunningWorker(engine, 1)};
    for (auto& worker : workers) {
        REQUIRE(worker.apply(make_snapshot(1, reserved.port, backend.port(), certificate)) == "");
    }
    constexpr int kRequests = 200;
    std::atomic<int> wrong = 0;
    std::atomic<int> running = 0;
    std::vector<std::thread> clients;
    for (int c = 0; c < 3; ++c) {
        ++running;
        clients.emplace_back([&, c] {
            Client client(reserved.port, "a.test");
            for (int i = 0; i < kRequests; ++i) {
                const std::string target = "/" + std::to_string(c) + "/" + std::to_string(i);
                const std::string answer = client.get("a.test", target);
                if (!answer.starts_with("HTTP/1.1 200") || !answer.ends_with("\r\n" + target)) {
                    ++wrong;
                }
            }
            --running;
        });
    }
    uint64_t generation = 1;
    while (running > 0) {
        ++generation;
        auto snapshot = make_snapshot(generation, reserved.port, backend.port(), certificate);
        if (generation % 2 == 0) {
            snapshot->routes.push_back({.name = "more", .hosts = {"more.test"}, .backend = 0});
        }
        for (auto& worker : workers)
            CHECK(worker.apply(snapshot) == "");
    }
    for (std::thread& client : clients)
        client.join();
    CHECK(wrong == 0);
    CHECK(generation > 2);
}

TEST_CASE("drain closes the listener and ends idle connections") {
    EchoBackend backend;
    const Listening reserved(false);
    RunningWorker worker(std::nullopt);
    REQUIRE(worker.apply(
                make_snapshot(1, reserved.port, backend.port(), make_certificate("a.test"))) == "");
    Client client(reserved.port, "a.test");
    REQUIRE(client.get("a.test", "/x").starts_with("HTTP/1.1 200"));
    worker.send(contract::Drain{});
    CHECK(worker.await<contract::Drained>());
    CHECK(client.get("a.test", "/y").empty());
    Client late(reserved.port, "a.test");
    CHECK_FALSE(late.connected());
}

}  // namespace
}  // namespace sluice::worker
