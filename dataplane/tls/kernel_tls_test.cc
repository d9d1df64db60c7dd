// Sending through a kernel that the test plays: it encrypts with the keys that it is handed, and
// OpenSSL as the client has to be able to read what comes out. So keys, numbers and nonces are
// right or nothing arrives.
#include "dataplane/tls/kernel_tls.h"

#include <openssl/evp.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dataplane/tls/stream.h"
#include "dataplane/tls/test_peer.h"

namespace sluice::tls {
namespace {

using namespace sluice::tls::testing;

constexpr uint64_t kBytesMin = 100'000;

std::string pattern(size_t size) {
    std::string bytes(size, '\0');
    uint32_t state = 12345;
    for (char& byte : bytes)
        byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    return bytes;
}

// The records of one direction, as RFC 8446 section 5.2 and RFC 5288 have them.
class Sealer {
  public:
    explicit Sealer(const RecordKeys& keys) : keys_(keys) {}

    std::string seal(uint8_t type, std::string_view content) {
        const bool tls13 = keys_.version == TLS1_3_VERSION;
        std::array<uint8_t, 12> nonce{};
        std::copy_n(keys_.iv.data(), nonce.size(), nonce.begin());
        std::string plain(content);
        std::string head;
        std::string associated;
        std::array<uint8_t, 8> number{};
        store_be64(number.data(), keys_.sequence);
        if (tls13) {
            for (size_t i = 0; i < 8; ++i)
                nonce[4 + i] ^= number[i];
            plain += static_cast<char>(type);
            head = std::string{23, 3, 3} + size_of(plain.size() + 16);
            associated = head;
        } else {
            head = std::string{static_cast<char>(type), 3, 3} + size_of(8 + plain.size() + 16) +
                   std::string(as_text(Bytes(nonce).subspan(4)));
            associated = std::string(as_text(number)) + std::string{static_cast<char>(type), 3, 3} +
                         size_of(plain.size());
            store_be64(keys_.iv.data() + 4, load_be64(keys_.iv.data() + 4) + 1);
        }
        ++keys_.sequence;
        return head + encrypt(nonce, associated, plain);
    }

  private:
    static std::string size_of(size_t size) {
        return {static_cast<char>(size >> 8), static_cast<char>(size)};
    }
    std::string encrypt(const std::array<uint8_t, 12>& nonce, const std::string& associated,
                        const std::string& plain) const {
        const std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>> context(
            EVP_CIPHER_CTX_new());
        const EVP_CIPHER* const cipher =
            keys_.cipher == RecordKeys::Cipher::kAes128Gcm ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
        std::string out(plain.size() + 16, '\0');
        auto* const into = reinterpret_cast<uint8_t*>(out.data());
        int size = 0;
        EVP_EncryptInit_ex(context.get(), cipher, nullptr, keys_.key.data(), nonce.data());
        EVP_EncryptUpdate(context.get(), nullptr, &size, as_bytes(associated).data(),
                          static_cast<int>(associated.size()));
        EVP_EncryptUpdate(context.get(), into, &size, as_bytes(plain).data(),
                          static_cast<int>(plain.size()));
        EVP_EncryptFinal_ex(context.get(), into + size, &size);
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, into + plain.size());
        return out;
    }

    RecordKeys keys_;
};

// What the test may do to the kernel, and sees of it.
struct Kernel {
    bool refuses = false;
    size_t key_changes = 0;  // the first included
    std::vector<int> types;  // of the records that were not data
    std::string body;        // what conduits take
    size_t conduits = 0;
};

class KernelTransport final : public ByteStream {
  public:
    KernelTransport(std::shared_ptr<Wire> wire, Kernel& kernel)
        : wire_(wire), memory_(std::move(wire)), kernel_(kernel) {}

    void set_handler(StreamHandler* handler) override { memory_.set_handler(handler); }
    IoResult read(MutableBytes into) override { return memory_.read(into); }
    IoResult write(std::span<const Bytes> pieces) override {
        if (!sealer_) return memory_.write(pieces);
        std::string content;
        for (const Bytes piece : pieces)
            content += as_text(piece);
        content.resize(std::min(content.size(), kRecordMax));
        return put(23, content);
    }
    bool flush() override { return true; }
    void shutdown_write() override { memory_.shutdown_write(); }

    std::unique_ptr<Conduit> conduit_from(ByteStream&, uint64_t) override;
    bool encrypt_writes(const RecordKeys& keys) override {
        if (kernel_.refuses) return false;
        ++kernel_.key_changes;
        sealer_.emplace(keys);
        return true;
    }
    IoResult write_record(uint8_t type, Bytes content) override {
        if (!sealer_) return {IoStatus::kError, 0};
        const IoResult result = put(type, as_text(content));
        if (result.status == IoStatus::kOk) kernel_.types.push_back(type);
        return result;
    }

    IoResult put(uint8_t type, std::string_view content) {
        if (wire_->broken || wire_->server_finished) return {IoStatus::kError, 0};
        if (wire_->to_client.size() >= wire_->room) return {IoStatus::kWouldBlock, 0};
        wire_->to_client += sealer_->seal(type, content);
        ++wire_->server_writes;
        return {IoStatus::kOk, content.size()};
    }
    bool encrypts() const { return sealer_.has_value(); }
    Kernel& kernel() { return kernel_; }

  private:
    std::shared_ptr<Wire> wire_;
    MemoryTransport memory_;
    Kernel& kernel_;
    std::optional<Sealer> sealer_;
};

class KernelConduit final : public Conduit {
  public:
    explicit KernelConduit(KernelTransport& sink) : sink_(sink) { ++sink.kernel().conduits; }
    IoResult fill(size_t bytes_max) override {
        std::string& body = sink_.kernel().body;
        held_ = body.substr(0, std::min<size_t>(bytes_max, 12'345));
        body.erase(0, held_.size());
        return {held_.empty() ? IoStatus::kWouldBlock : IoStatus::kOk, held_.size()};
    }
    IoResult drain() override {
        CHECK(sink_.encrypts());
        const IoResult result = sink_.put(23, held_);
        held_.erase(0, result.bytes);
        return result;
    }
    size_t held() const override { return held_.size(); }

  private:
    KernelTransport& sink_;
    std::string held_;
};

std::unique_ptr<Conduit> KernelTransport::conduit_from(ByteStream&, uint64_t) {
    return std::make_unique<KernelConduit>(*this);
}

struct Suite {
    int version;
    std::string cipher;
    bool known;  // to the kernel
};

struct Node {
    explicit Node(contract::Wanted ktls = contract::Wanted::kAuto, bool transmit = true,
                  bool new_keys = false) {
        static const auto kCertificate = make_certificate({"a.example.org"});
        context->kernel_tls().transmit = transmit;
        context->kernel_tls().new_keys = new_keys;
        context->kernel_tls().bytes_min = kBytesMin;
        contract::TlsConfig config;
        config.ktls = ktls;
        config.certificates = {kCertificate};
        REQUIRE(context->apply(config));
    }
    DropCounters drops;
    std::shared_ptr<ServerContext> context = std::make_shared<ServerContext>(drops);
};

// A connection after its handshake and a small answer.
struct Connection {
    Connection(Node& node, const Suite& suite = {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", true})
        : client({.server_name = "a.example.org",
                  .max_version = suite.version,
                  .ciphers12 = suite.version == TLS1_2_VERSION ? suite.cipher : "",
                  .ciphers13 = suite.version == TLS1_3_VERSION ? suite.cipher : ""}),
          app(std::make_unique<Stream>(node.context,
                                       std::make_unique<KernelTransport>(wire, kernel))),
          source(std::make_shared<Wire>()) {
        run();
        REQUIRE(client.connected());
        app.to_send = "head";
        run();
        REQUIRE(client.received == "head");
        client.received.clear();
    }

    void run() {
        for (int idle = 0; idle < 20;) {
            const size_t before = app.received.size() + wire->server_writes;
            bool moved = client.step(*wire);
            wire->ready();
            carry();
            moved |= app.received.size() + wire->server_writes != before;
            idle = moved ? 0 : idle + 1;
        }
    }
    // What a relay does with a conduit.
    void carry() {
        while (conduit) {
            if (conduit->held() == 0) {
                if (conduit->fill(SIZE_MAX).bytes == 0) return;
            } else if (conduit->drain().status != IoStatus::kOk) {
                return;
            }
        }
    }
    bool open(const std::string& body) {
        kernel.body = body;
        conduit = app.stream->conduit_from(source, body.size());
        return conduit != nullptr;
    }
    void ask_for_new_keys() {
        REQUIRE(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
        client.to_send += "x";  // goes with it
    }
    const TlsFacts& facts() const { return *app.stream->tls_facts(); }

    std::shared_ptr<Wire> wire = std::make_shared<Wire>();
    Kernel kernel;
    Client client;
    Application app;
    MemoryTransport source;
    std::unique_ptr<Conduit> conduit;
};

TEST_CASE("The kernel goes on where OpenSSL stopped, with every cipher that it has") {
    const Suite suite = GENERATE(Suite{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", true},
                                 Suite{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", true},
                                 Suite{TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", false},
                                 Suite{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true},
                                 Suite{TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", true},
                                 Suite{TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", false});
    CAPTURE(suite.version, suite.cipher);
    Node node;
    Connection at(node, suite);
    at.app.to_send = pattern(70'000);  // several records first, so that the number counts
    at.run();
    REQUIRE((at.client.received == pattern(70'000)));
    at.client.received.clear();

    const std::string body = pattern(300'000);
    REQUIRE(at.open(body) == suite.known);
    CHECK(at.facts().ktls_transmit == suite.known);
    CHECK(node.context->kernel_tls().uses.value() == (suite.known ? 1 : 0));
    if (!suite.known) at.app.to_send = body;
    at.run();
    CHECK((at.client.received == body));
    at.client.received.clear();

    // Small answers on the same connection, a question, a second body, the end.
    at.conduit.reset();
    at.client.to_send = "question";
    at.app.to_send = pattern(40'000);
    at.run();
    CHECK((at.client.received == pattern(40'000)));
    CHECK(at.app.received == "question");
    at.client.received.clear();
    if (suite.known) {
        REQUIRE(at.open(body));
        at.run();
        CHECK((at.client.received == body));
        CHECK(at.kernel.key_changes == 1);
    }
    CHECK_FALSE(at.app.stream->worn_out());
    at.app.finish = true;
    at.run();
    CHECK(at.client.got_close_notify());
    CHECK_FALSE(at.client.failed);
    CHECK(at.wire->server_finished);
    if (suite.known) CHECK(at.kernel.types == std::vector<int>{SSL3_RT_ALERT});
}

TEST_CASE("The kernel is left alone unless it is of use") {
    const std::string body = pattern(300'000);
    SECTION("switched off") {
        Node node(contract::Wanted::kOff);
        Connection at(node);
        CHECK_FALSE(at.open(body));
        CHECK(at.kernel.conduits == 0);
    }
    SECTION("not there") {
        Node node(contract::Wanted::kOn, false);
        Connection at(node);
        CHECK_FALSE(at.open(body));
        CHECK(at.kernel.conduits == 0);
    }
    SECTION("for a short body") {
        Node node;
        Connection at(node);
        CHECK_FALSE(at.open(pattern(kBytesMin - 1)));
        CHECK(at.open(pattern(kBytesMin)));
    }
    SECTION("a kernel that refuses changes nothing") {
        Node node;
        Connection at(node);
        at.kernel.refuses = true;
        CHECK_FALSE(at.open(body));
        CHECK_FALSE(at.facts().ktls_transmit);
        at.app.to_send = body;
        at.run();
        CHECK((at.client.received == body));
    }
    SECTION("while ciphertext of OpenSSL's waits") {
        Node node;
        Connection at(node);
        at.wire->room = 1000;
        at.client.deaf = true;
        at.app.to_send = pattern(50'000);
        at.run();
        CHECK_FALSE(at.open(body));
        at.wire->room = SIZE_MAX;
        at.client.deaf = false;
        at.run();
        REQUIRE((at.client.received == pattern(50'000)));
        at.client.received.clear();
        CHECK(at.open(body));
        at.run();
        CHECK((at.client.received == body));
    }
    SECTION("for a body that one key may not encrypt") {
        Node node;
        node.context->records_per_key = 20;
        Connection at(node);
        CHECK_FALSE(at.open(pattern(21 * kRecordMax)));
        CHECK(at.open(pattern(10 * kRecordMax)));
    }
}

TEST_CASE("OpenSSL's own changes of keys are followed") {
    Node node;
    node.context->records_per_key = 30;
    Connection at(node);
    // OpenSSL changes its keys a few times on the way.
    at.app.to_send = pattern(100 * kRecordMax);
    at.run();
    REQUIRE(at.client.received.size() == 100 * kRecordMax);
    at.client.received.clear();
    const std::string body = pattern(kBytesMin);
    REQUIRE(at.open(body));
    at.run();
    CHECK((at.client.received == body));
    CHECK_FALSE(at.client.failed);
}

TEST_CASE("A client that wants new keys gets them where the kernel can change its own") {
    Node node(contract::Wanted::kAuto, true, true);
    Connection at(node);
    const std::string body = pattern(400'000);
    REQUIRE(at.open(body));
    at.wire->room = 100'000;  // so that it happens in the middle
    at.client.deaf = true;
    at.run();
    at.ask_for_new_keys();
    at.client.step(*at.wire);
    at.wire->ready();
    at.ask_for_new_keys();  // twice before we can answer: one answer
    at.client.step(*at.wire);
    at.wire->ready();
    CHECK(at.kernel.key_changes == 1);  // there is no room for the answer yet
    at.client.deaf = false;
    at.wire->room = SIZE_MAX;
    at.run();
    CHECK((at.client.received == body));
    CHECK_FALSE(at.client.failed);
    CHECK(at.kernel.key_changes >= 2);
    CHECK(at.kernel.types.front() == SSL3_RT_HANDSHAKE);
    CHECK_FALSE(at.app.stream->worn_out());
    CHECK(at.app.received == "xx");
    // And again.
    at.client.received.clear();
    at.ask_for_new_keys();
    at.run();
    at.app.to_send = "more";
    at.run();
    CHECK(at.client.received == "more");
}

TEST_CASE("Where the kernel cannot change its keys the connection ends after its response") {
    Node node;
    Connection at(node);
    const std::string body = pattern(400'000);
    REQUIRE(at.open(body));
    at.wire->room = 100'000;
    at.client.deaf = true;
    at.run();
    CHECK_FALSE(at.app.stream->worn_out());
    at.ask_for_new_keys();
    at.client.step(*at.wire);
    at.wire->ready();
    at.client.deaf = false;
    at.wire->room = SIZE_MAX;
    at.run();
    CHECK((at.client.received == body));
    CHECK(at.app.received == "x");
    CHECK(at.app.stream->worn_out());
    CHECK(node.drops.value(DropReason::kTlsKeyUpdateRefused) == 1);
    at.app.finish = true;
    at.run();
    CHECK(at.client.got_close_notify());
    CHECK_FALSE(at.client.failed);
}

TEST_CASE("A client that changes only its own keys is heard as before") {
    Node node;
    Connection at(node);
    REQUIRE(at.open(pattern(200'000)));
    REQUIRE(SSL_key_update(at.client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
    at.client.to_send = "upload";
    at.run();
    CHECK(at.app.received == "upload");
    CHECK((at.client.received == pattern(200'000)));
    CHECK_FALSE(at.app.stream->worn_out());
}

TEST_CASE("What is wrong with the peer's records is said by the kernel") {
    Node node;
    Connection at(node);
    REQUIRE(at.open(pattern(200'000)));
    at.run();
    at.client.to_send = "spoilt on the way";
    at.client.step(*at.wire);
    REQUIRE(at.wire->to_server.size() > 10);
    at.wire->to_server.back() ^= 1;
    at.run();
    CHECK(at.app.status == IoStatus::kError);
    CHECK(at.client.failed);
    CHECK(at.client.failure == SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC);
}

TEST_CASE("The end waits until the kernel has taken close_notify") {
    Node node;
    Connection at(node);
    REQUIRE(at.open(pattern(200'000)));
    at.client.deaf = true;
    at.wire->room = 50'000;
    at.run();
    at.conduit.reset();  // given up in the middle
    at.app.stream->shutdown_write();
    CHECK_FALSE(at.wire->server_finished);
    CHECK_FALSE(at.app.stream->flush());
    at.client.deaf = false;
    at.wire->room = SIZE_MAX;
    at.client.step(*at.wire);
    CHECK(at.app.stream->flush());
    CHECK(at.wire->server_finished);
    at.client.step(*at.wire);
    CHECK(at.client.got_close_notify());
}

TEST_CASE("A response without an end is cut off where its key is used up") {
    Node node;
    node.context->records_per_key = 20;
    Connection at(node);
    REQUIRE(at.open(pattern(7 * kRecordMax)));
    at.run();
    CHECK_FALSE(at.app.stream->worn_out());
    at.conduit.reset();
    at.app.to_send = pattern(6 * kRecordMax);
    at.run();
    CHECK(at.app.stream->worn_out());
    CHECK(at.app.write_status == IoStatus::kOk);
    at.app.to_send = pattern(10 * kRecordMax);
    at.run();
    CHECK(at.app.write_status == IoStatus::kError);
    CHECK(node.drops.value(DropReason::kTlsKeyWornOut) == 1);
}

}  // namespace
}  // namespace sluice::tls
