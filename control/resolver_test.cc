// Names against a DNS server that says what the test wants.
#include "control/resolver.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <optional>

#include "control/log.h"

namespace sluice::control {

namespace {

using namespace std::chrono_literals;

// Answers on the loop under test, over UDP.
class ScriptedDns {
  public:
    explicit ScriptedDns(ControlLoop& loop) : loop_(loop) {
        socket_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        REQUIRE(socket_ >= 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        socklen_t size = sizeof address;
        REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port_ = ntohs(address.sin_port);
        loop_.watch(socket_, EPOLLIN, [this](uint32_t) { serve(); });
    }
    ~ScriptedDns() {
        loop_.forget(socket_);
        ::close(socket_);
    }
    ScriptedDns(const ScriptedDns&) = delete;
    ScriptedDns& operator=(const ScriptedDns&) = delete;

    std::string place() const { return "127.0.0.1:" + std::to_string(port_); }

    std::vector<std::string> v4;
    std::vector<std::string> v6;
    uint32_t ttl = 0;
    uint8_t failure = 0;  // RCODE; 0: none
    uint8_t failing = 0;  // the type of the questions that fail; 0: all
    int questions = 0;

  private:
    void serve() {
        std::array<uint8_t, 512> query;
        sockaddr_in from{};
        socklen_t size = sizeof from;
        const ssize_t got = ::recvfrom(socket_, query.data(), query.size(), 0,
                                       reinterpret_cast<sockaddr*>(&from), &size);
        if (got < 17) return;
        ++questions;
        size_t end = 12;
        while (query[end] != 0)
            end += query[end] + size_t{1};
        const uint8_t type = query[end + 2];
        end += 5;
        std::string reply(reinterpret_cast<const char*>(query.data()), end);
        const auto& addresses = type == 28 ? v6 : v4;
        const uint8_t code = failing == 0 || failing == type ? failure : 0;
        reply[2] = static_cast<char>(0x84);
        reply[3] = static_cast<char>(0x80 | code);
        reply[7] = static_cast<char>(code != 0 ? 0 : addresses.size());
        reply[8] = reply[9] = reply[10] = reply[11] = 0;
        for (const std::string& text : addresses) {
            if (code != 0) break;
            const auto address = IpAddress::parse(text);
            const auto length = static_cast<char>(type == 28 ? 16 : 4);
            reply += {'\xc0', 12, 0, static_cast<char>(type), 0, 1};
            for (int shift = 24; shift >= 0; shift -= 8)
                reply += static_cast<char>(ttl >> shift);
            reply += {0, length};
            reply.append(reinterpret_cast<const char*>(address->bytes.data()),
                         static_cast<size_t>(length));
        }
        ::sendto(socket_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }

    ControlLoop& loop_;
    int socket_ = -1;
    uint16_t port_ = 0;
};

struct Bench {
    explicit Bench(Duration half_kept = 5min) {
        log::set_level(log::Level::kSilent);
        auto made = ControlLoop::create(clock);
        REQUIRE(made);
        loop = std::move(*made);
        dns.emplace(*loop);
        ResolverOptions options;
        options.servers = dns->place();
        options.ttl_min = options.retry_min = 20ms;
        options.retry_max = 40ms;
        options.half_kept = half_kept;
        resolver.emplace(*loop, random, options, [this](auto next) {
            book = std::move(next);
            ++changes;
        });
    }
    ~Bench() { log::set_level(log::Level::kInfo); }

    template <typename Condition>
    bool await(Condition condition) {
        const Instant end = clock.now().mono + 30s;
        while (!condition() && clock.now().mono < end)
            loop->turn(20ms);
        return condition();
    }
    std::string addresses(const std::string& name = "app.test") const {
        std::string text;
        if (book == nullptr || !book->addresses.contains(name)) return text;
        for (const IpAddress& address : book->addresses.at(name))
            text += address.text() + " ";
        return text;
    }

    SystemClock clock;
    SeededRandom random{1};
    std::unique_ptr<ControlLoop> loop;
    std::optional<ScriptedDns> dns;
    std::shared_ptr<const contract::AddressBook> book;
    int changes = 0;
    std::optional<Resolver> resolver;
};

}  // namespace

TEST_CASE("a name stands for all of its addresses, and for others when they change") {
    Bench bench;
    bench.dns->v4 = {"192.0.2.2", "192.0.2.1"};
    bench.dns->v6 = {"2001:db8::1"};
    bench.resolver->follow({"app.test"});
    REQUIRE(bench.await([&] { return bench.changes == 1; }));
    CHECK(bench.addresses() == "2001:db8::1 192.0.2.1 192.0.2.2 ");

    SECTION("the same answer in another order is no change") {
        bench.dns->v4 = {"192.0.2.1", "192.0.2.2"};
        const int asked = bench.dns->questions;
        REQUIRE(bench.await([&] { return bench.dns->questions >= asked + 6; }));
        CHECK(bench.changes == 1);
    }
    SECTION("another answer is one") {
        bench.dns->v4 = {"192.0.2.3"};
        bench.dns->v6.clear();
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses() == "192.0.2.3 ");
    }
    SECTION("failures change nothing, and end") {
        bench.dns->failure = GENERATE(uint8_t{2}, uint8_t{3});
        const int asked = bench.dns->questions;
        REQUIRE(bench.await([&] { return bench.dns->questions >= asked + 6; }));
        CHECK(bench.changes == 1);
        bench.dns->failure = 0;
        bench.dns->v4 = {"192.0.2.9"};
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses() == "2001:db8::1 192.0.2.9 ");
    }
    SECTION("what nobody wants any more is not asked for") {
        bench.resolver->follow({});
        bench.resolver->follow({"other.test"});
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses().empty());
        CHECK_FALSE(bench.addresses("other.test").empty());
    }
}

TEST_CASE("addresses of one family are kept while it cannot be looked up") {
    Bench bench;
    bench.dns->v4 = {"192.0.2.1"};
    bench.dns->v6 = {"2001:db8::1"};
    bench.resolver->follow({"app.test"});
    REQUIRE(bench.await([&] { return bench.changes == 1; }));
    CHECK(bench.addresses() == "2001:db8::1 192.0.2.1 ");
    bench.dns->failure = 2;  // SERVFAIL

    SECTION("the other family is followed") {
        bench.dns->failing = 28;
        bench.dns->v4 = {"192.0.2.2"};
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses() == "2001:db8::1 192.0.2.2 ");
        bench.dns->failure = 0;
        bench.dns->v6 = {"2001:db8::2"};
        REQUIRE(bench.await([&] { return bench.changes == 3; }));
        CHECK(bench.addresses() == "2001:db8::2 192.0.2.2 ");
    }
    SECTION("and the other way round") {
        bench.dns->failing = 1;
        bench.dns->v6 = {"2001:db8::2"};
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses() == "2001:db8::2 192.0.2.1 ");
    }
    SECTION("none is an answer, too") {
        bench.dns->failing = 28;
        const int asked = bench.dns->questions;
        REQUIRE(bench.await([&] { return bench.dns->questions >= asked + 8; }));
        CHECK(bench.changes == 1);
        bench.dns->failure = 0;
        bench.dns->v6.clear();
        REQUIRE(bench.await([&] { return bench.changes == 2; }));
        CHECK(bench.addresses() == "192.0.2.1 ");
    }
}

TEST_CASE("not for ever") {
    Bench bench(100ms);
    bench.dns->v4 = {"192.0.2.1"};
    bench.dns->v6 = {"2001:db8::1"};
    bench.resolver->follow({"app.test"});
    REQUIRE(bench.await([&] { return bench.changes == 1; }));
    bench.dns->failure = 2;
    bench.dns->failing = 28;
    REQUIRE(bench.await([&] { return bench.changes == 2; }));
    CHECK(bench.addresses() == "192.0.2.1 ");
}

TEST_CASE("a TTL is waited for") {
    Bench bench;
    bench.dns->v4 = {"192.0.2.1"};
    bench.dns->ttl = 3600;
    bench.resolver->follow({"app.test"});
    REQUIRE(bench.await([&] { return bench.changes == 1; }));
    const int asked = bench.dns->questions;
    bench.dns->ttl = 0;
    bench.resolver->follow({"app.test", "other.test"});
    REQUIRE(bench.await([&] { return bench.dns->questions >= asked + 8; }));
    CHECK(bench.addresses() == "192.0.2.1 ");
    CHECK(bench.changes == 2);
}

TEST_CASE("a resolver may go while it waits for an answer") {
    Bench bench;
    bench.resolver->follow({"app.test", "other.test"});
    bench.resolver.reset();
    bench.loop->turn(0ms);
    CHECK(bench.changes == 0);
}

}  // namespace sluice::control
