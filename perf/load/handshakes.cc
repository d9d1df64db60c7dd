// A network of devices that all come back at once: one initiation of each of many peers, each from
// an address of its own, a bounded number of them unanswered at a time.
//
// The initiations are made before the clock starts, so that it is the answering program that is
// measured. A device that is told to prove its address (a cookie reply) does so and asks again.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/wireguard/cookie.h"
#include "dataplane/wireguard/handshake.h"
#include "perf/load/options.h"
#include "perf/load/sockets.h"

namespace sluice::perf {
namespace {

using wire::HandshakeInitiation;
using wireguard::PublicKey;

// Not answered in this time: it never will be. A tenth of what a real device waits, and a hundred
// times what an answer takes.
constexpr Duration kAnswerTime = std::chrono::milliseconds(500);

struct Peer {
    std::array<uint8_t, HandshakeInitiation::kSize> initiation{};
    wireguard::MacWriter macs;
    Instant sent{};
    bool waiting = false;
};

// The same seed gives the same keys, here and in the configuration of the program that is measured.
std::vector<crypto::X25519Key> keys_of(Options& options) {
    SeededRandom random(options.number("seed"));
    const uint64_t count = options.number("count");
    std::vector<crypto::X25519Key> keys;
    keys.reserve(count);
    for (uint64_t i = 0; i < count; ++i)
        keys.push_back(crypto::X25519Key::generate(random));
    return keys;
}

PublicKey public_key_of(const std::string& hex) {
    PublicKey key{};
    if (hex.size() != 2 * key.size()) fail("--public-key must be 64 hexadecimal digits");
    for (size_t i = 0; i < key.size(); ++i)
        if (std::sscanf(hex.c_str() + 2 * i, "%2hhx", &key[i]) != 1)
            fail("--public-key: no digits");
    return key;
}

// Peer number i says that it is index i + 1, so an answer says whose it is.
std::vector<Peer> prepare(const std::vector<crypto::X25519Key>& keys, const PublicKey& responder,
                          Now now) {
    SystemRandom random;
    std::vector<Peer> peers(keys.size());
    wireguard::RemoteIdentity identity;
    identity.public_key = responder;
    const auto timestamp = wireguard::next_timestamp(now.wall, {});
    for (size_t i = 0; i < peers.size(); ++i) {
        identity.static_static = keys[i].agree(responder);
        wireguard::InitiatorHandshake handshake;
        HandshakeInitiation message;
        if (!handshake.create_initiation(keys[i], identity, timestamp, random, message))
            fail("the responder's key is no good");
        message.sender = static_cast<uint32_t>(i + 1);
        wire::write(message, peers[i].initiation);
        peers[i].macs.set_peer_key(responder);
    }
    return peers;
}

class Storm {
  public:
    Storm(const Descriptor& socket, sockaddr_in target, uint32_t first_source,
          std::vector<Peer>& peers)
        : socket_(socket), target_(target), first_source_(first_source), peers_(peers) {}

    void run(size_t window, Duration limit) {
        const Instant start = clock_.now().mono;
        Instant now = start;
        size_t next = 0;
        while (now - start < limit && answered_ + unanswered_ < peers_.size()) {
            for (; waiting_ < window && next < peers_.size(); ++next) {
                ++waiting_;
                order_.push_back(next);
                send(next, now);
            }
            pollfd waits{.fd = socket_.number(), .events = POLLIN, .revents = 0};
            poll(&waits, 1, 10);
            now = clock_.now().mono;
            while (receive(now)) {
            }
            give_up(now);
        }
        started_ = next;
        seconds_ = std::chrono::duration<double>((answered_ ? last_answer_ : now) - start).count();
    }

    void print() const {
        std::printf(
            "{\"started\": %zu, \"answered\": %zu, \"unanswered\": %zu, \"cookies\": %zu, "
            "\"seconds\": %.6f}\n",
            started_, answered_, unanswered_, cookies_, seconds_);
    }

  private:
    void send(size_t number, Instant now) {
        Peer& peer = peers_[number];
        peer.macs.sign(peer.initiation, now);
        peer.sent = now;
        peer.waiting = true;
        iovec vector{.iov_base = peer.initiation.data(), .iov_len = peer.initiation.size()};
        alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(in_pktinfo))> control{};
        msghdr message{};
        message.msg_name = &target_;
        message.msg_namelen = sizeof target_;
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
        in_pktinfo source{};
        source.ipi_spec_dst.s_addr = htonl(first_source_ + static_cast<uint32_t>(number));
        std::memcpy(CMSG_DATA(header), &source, sizeof source);
        if (sendmsg(socket_.number(), &message, 0) < 0) fail_with_errno("sendmsg");
    }

    // False: nothing is there.
    bool receive(Instant now) {
        uint8_t bytes[256];
        const ssize_t count = recv(socket_.number(), bytes, sizeof bytes, MSG_DONTWAIT);
        if (count < 0) return false;
        const Bytes datagram(bytes, static_cast<size_t>(count));
        const auto type = wire::classify(datagram);
        if (!type || *type == wire::WireguardType::kInitiation) return true;
        const size_t number = wire::receiver_of(*type, datagram) - size_t{1};
        if (number >= peers_.size() || !peers_[number].waiting) return true;
        if (*type == wire::WireguardType::kResponse) {
            peers_[number].waiting = false;
            --waiting_;
            ++answered_;
            last_answer_ = now;
        } else if (*type == wire::WireguardType::kCookieReply) {
            ++cookies_;
            if (peers_[number].macs.consume(wire::read_cookie_reply(datagram), now) ==
                DropReason::kNone)
                send(number, now);
        }
        return true;
    }

    void give_up(Instant now) {
        while (!order_.empty()) {
            Peer& oldest = peers_[order_.front()];
            if (oldest.waiting && now - oldest.sent < kAnswerTime) return;
            if (oldest.waiting) {
                oldest.waiting = false;
                --waiting_;
                ++unanswered_;
            }
            order_.pop_front();
        }
    }

    const Descriptor& socket_;
    sockaddr_in target_;
    uint32_t first_source_;
    std::vector<Peer>& peers_;
    SystemClock clock_;
    std::deque<size_t> order_;  // as they were first sent
    size_t waiting_ = 0, answered_ = 0, unanswered_ = 0, cookies_ = 0, started_ = 0;
    Instant last_answer_{};
    double seconds_ = 0;
};

}  // namespace

void print_public_keys(Options& options) {
    const auto keys = keys_of(options);
    options.finish();
    std::printf("[");
    for (size_t i = 0; i < keys.size(); ++i) {
        std::printf(i ? ",\n\"" : "\"");
        for (const uint8_t byte : keys[i].public_key())
            std::printf("%02x", byte);
        std::printf("\"");
    }
    std::printf("]\n");
}

void handshakes(Options& options) {
    const auto keys = keys_of(options);
    const auto own_port = static_cast<uint16_t>(options.number("own-port"));
    const Descriptor socket = open_udp(options.text("namespace"), address_of("0.0.0.0", own_port));
    const auto port = static_cast<uint16_t>(options.number("port"));
    const sockaddr_in target = address_of(options.text("to"), port);
    const uint32_t first = ntohl(address_of(options.text("first-source"), 0).sin_addr.s_addr);
    const PublicKey responder = public_key_of(options.text("public-key"));
    const size_t window = options.number("window");
    const auto limit = std::chrono::milliseconds(options.number("milliseconds"));
    options.finish();

    auto peers = prepare(keys, responder, SystemClock().now());
    Storm storm(socket, target, first, peers);
    storm.run(window, limit);
    storm.print();
}

}  // namespace sluice::perf
