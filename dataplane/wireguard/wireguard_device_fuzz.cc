// Two real devices and somebody in between who does what the script says: delivers, loses, repeats,
// changes and invents datagrams, moves the clock, the addresses and the settings. After every step
// the invariants hold; after the last, when the network is healed, data flows both ways.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/two_devices.h"

using namespace sluice;
using namespace sluice::wireguard;

namespace {

class Script {
  public:
    Script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    bool done() const { return at_ == end_; }
    uint8_t byte() { return done() ? 0 : *at_++; }
    std::vector<uint8_t> bytes(size_t count) {
        count = std::min(count, static_cast<size_t>(end_ - at_));
        std::vector<uint8_t> taken(at_, at_ + count);
        at_ += count;
        return taken;
    }

  private:
    const uint8_t* at_;
    const uint8_t* end_;
};

struct Recorded {
    End* from;
    SentDatagram datagram;
};

class Play {
  public:
    explicit Play(Script script) : script_(script) {
        stranger_.peers = {TwoDevices::peer_of(net_.a, "10.0.0.1/32", "fd00::1/128"),
                           TwoDevices::peer_of(net_.b, "10.0.0.2/32", "fd00::2/128")};
        stranger_.peers[0].endpoint = net_.a.endpoint;
        stranger_.peers[1].endpoint = net_.b.endpoint;
        stranger_.configure(net_.now);
        psk_a_ = psk_b_ = 0;
    }

    void run() {
        // Enough to overflow a queue of 128; more only makes each run slower.
        for (int step = 0; step < 150 && !script_.done(); ++step) {
            act();
            check_invariants();
        }
        heal();
    }

  private:
    End& end(uint8_t which) { return (which & 1) == 0 ? net_.a : net_.b; }
    // Each end has one peer or, while it is removed, none.
    bool has_peer(const End& who) const { return !who.device.peers().empty(); }
    PeerId peer_of(const End& who) const { return who.device.peers().front(); }
    PeerState state_of(const End& who) const { return who.device.peer_state(peer_of(who)); }

    void act() {
        const uint8_t command = script_.byte();
        End& who = end(command);
        switch (command >> 1 & 15) {
            case 0:
            case 1:
                send(who, 40 + script_.byte() * 6u);
                break;
            case 2:
            case 3:
            case 4:
                deliver_next(who, nullptr);
                break;
            case 5:
                collect();
                if (!in_flight_[&who].empty()) in_flight_[&who].pop_front();
                break;
            case 6:
                repeat(script_.byte(), nullptr);
                break;
            case 7:
                repeat_changed(script_.byte());
                break;
            case 8:
                invent(who);
                break;
            case 9:
                // From a tick to nine minutes; after twice that no key is left.
                pass(milliseconds(4) * (1 << script_.byte() % 18));
                break;
            case 10:
                change_settings(who);
                break;
            case 11: {
                const Path path = another_path();
                deliver_next(who, &path);
                break;
            }
            case 12: {
                const Path path = another_path();
                repeat(script_.byte(), &path);
                break;
            }
            case 13:
                who.out.refuse_datagrams = (script_.byte() & 1) != 0;
                break;
            case 14:
                who.out.refuse_inner = (script_.byte() & 1) != 0;
                break;
            default:
                flood(who, script_.byte());
                break;
        }
    }

    // Each packet carries a number of its own behind its header, so that it is known again.
    void send(End& from, size_t size) {
        if (!has_peer(from)) return;
        auto packet = net_.packet_from(from, std::clamp<size_t>(size, 40, from.mtu));
        store_be32(packet.data() + 20, ++last_packet_);
        sent_packets_[last_packet_] = {&from, packet};
        from.device.send(peer_of(from), packet, net_.now, from.out);
    }

    // Looks at all new datagrams of both ends and moves them into flight.
    void collect() {
        for (End* from : {&net_.a, &net_.b}) {
            for (; !from->out.sent.empty(); from->out.sent.pop_front()) {
                SentDatagram& datagram = from->out.sent.front();
                if (datagram.type() == 4) {
                    const auto nonce = std::tuple(from, load_le32(datagram.bytes.data() + 4),
                                                  load_le64(datagram.bytes.data() + 8));
                    SLUICE_CHECK(nonces_.insert(nonce).second);
                    // On a session that this end only answered for: not before it was confirmed.
                    const auto answered = answered_.find({from, std::get<1>(nonce)});
                    SLUICE_CHECK(answered == answered_.end() ||
                                 confirmed_.contains({from, answered->second}));
                }
                if (datagram.type() == 2) {
                    answered_[{from, load_le32(datagram.bytes.data() + 8)}] =
                        load_le32(datagram.bytes.data() + 4);
                }
                in_flight_[from].push_back(datagram);
                if (recorded_.size() < 64) recorded_.push_back({from, std::move(datagram)});
            }
        }
    }

    void deliver_next(End& from, const Path* path) {
        collect();
        auto& queue = in_flight_[&from];
        if (queue.empty()) return;
        const SentDatagram datagram = queue.front();
        queue.pop_front();
        give(net_.other(from), datagram, path);
    }

    void repeat(uint8_t which, const Path* path) {
        collect();
        if (recorded_.empty()) return;
        const Recorded& old = recorded_[which % recorded_.size()];
        // To whom it was meant, or back to who sent it.
        give((which & 128) == 0 ? net_.other(*old.from) : *old.from, old.datagram, path);
    }

    void repeat_changed(uint8_t which) {
        collect();
        if (recorded_.empty()) return;
        const Recorded& old = recorded_[which % recorded_.size()];
        SentDatagram changed = old.datagram;
        const uint8_t how = script_.byte();
        if (how < 32) {
            changed.bytes.resize(changed.bytes.size() * how / 32);
        } else {
            const size_t at = (how * 256u + script_.byte()) % changed.bytes.size();
            changed.bytes[at] ^= static_cast<uint8_t>(script_.byte() | 1);
            // What stands in a handshake message's second MAC is looked at only under load.
            const bool handshake = old.datagram.type() == 1 || old.datagram.type() == 2;
            if (handshake && at >= changed.bytes.size() - 16) return;
        }
        const Path path = another_path();
        SLUICE_CHECK(give(net_.other(*old.from), changed, &path) != DropReason::kNone);
    }

    void invent(End& to) {
        SentDatagram invented;
        invented.bytes = script_.bytes(script_.byte());
        SLUICE_CHECK(give(to, invented, nullptr) != DropReason::kNone);
    }

    Path another_path() {
        const uint8_t which = script_.byte();
        std::array<uint8_t, 16> address{0x20, 0x01, 0x0d, 0xb8, which};
        return {{(which & 1) == 0 ? IpAddress::v4(address.data()) : IpAddress::v6(address.data()),
                 static_cast<uint16_t>(which + 1)},
                {},
                0};
    }

    DropReason give(End& to, SentDatagram datagram, const Path* path) {
        collect();
        const bool known = has_peer(to);
        const PeerState before = known ? state_of(to) : PeerState{};
        const size_t size = datagram.bytes.size();
        const bool data = size >= 32 && datagram.type() == 4;
        const uint32_t receiver = size >= 8 ? load_le32(datagram.bytes.data() + 4) : 0;
        const Path from =
            path != nullptr ? *path : Path{net_.other(to).endpoint, to.endpoint.address, 1};
        const DropReason reason = net_.give_from(to, std::move(datagram), from, script_.byte());
        if (!known) {
            SLUICE_CHECK(to.out.received.empty());
            return reason;
        }
        const PeerState after = state_of(to);
        // What was dropped after it was authenticated says so by its reason.
        const bool authentic =
            reason == DropReason::kNone || reason == DropReason::kInnerMalformed ||
            reason == DropReason::kInnerSourceNotAllowed || reason == DropReason::kInnerCongestion;
        if (authentic && data) confirmed_.insert({&to, receiver});
        if (!authentic) {
            SLUICE_CHECK(after.endpoint == before.endpoint);
            SLUICE_CHECK(after.received_bytes == before.received_bytes);
            SLUICE_CHECK(after.session_created == before.session_created);
            SLUICE_CHECK(after.can_send == before.can_send);
            SLUICE_CHECK(to.out.sent.size() == (reason == DropReason::kCookieReplied ? 1u : 0u));
        }
        // Before the sender has proven where it is, it never gets more than it gave.
        if (after.received_bytes == before.received_bytes) {
            size_t answered = 0;
            for (const SentDatagram& out : to.out.sent)
                answered += out.bytes.size();
            SLUICE_CHECK(answered <= size);
        }
        return reason;
    }

    void pass(Duration duration) {
        net_.pass(duration);
        // What is due has been done; a deadline may only be in the future, or be served again soon.
        for (End* who : {&net_.a, &net_.b}) {
            for (int i = 0; i == 0 || who->device.next_deadline() <= net_.now.mono; ++i) {
                SLUICE_CHECK(i < 3);
                who->device.tick(net_.now, who->out);
            }
        }
    }

    void change_settings(End& who) {
        const uint8_t change = script_.byte();
        const uint8_t value = script_.byte();
        PeerSettings& peer = who.peers.empty() ? removed_[&who] : who.peers[0];
        switch (change % 8) {
            case 0:
                psk_of(who) = value % 3;
                break;
            case 1:
                peer.persistent_keepalive_s = value;
                break;
            case 2:
                peer.endpoint = net_.other(who).endpoint;
                break;
            case 3:
                peer.endpoint.reset();
                break;
            case 4:
                who.mtu = static_cast<uint16_t>(1280 + value);
                break;
            case 5:
                if (who.peers.empty()) {
                    who.peers.push_back(removed_[&who]);
                } else {
                    removed_[&who] = who.peers[0];
                    who.peers.clear();
                }
                break;
            case 6:
                peer.allowed_ips.resize(value % 2 + 1);
                break;
            default:
                // The other end is not told, but in the end.
                who.private_key.data()[0] ^= value;
                who.public_key = crypto::X25519Key(who.private_key).public_key();
                break;
        }
        configure(who);
    }

    uint8_t& psk_of(const End& who) { return &who == &net_.a ? psk_a_ : psk_b_; }
    void configure(End& who) {
        std::array<uint8_t, 32> psk{};
        psk[0] = psk_of(who);
        if (!who.peers.empty()) who.peers[0].preshared_key = Secret<32>(psk);
        who.configure(net_.now);
    }

    // Initiations of somebody who knows our public key and nothing else.
    void flood(End& to, uint8_t count) {
        if (++floods_ > 4) return;  // each costs as much as all other steps together
        stranger_.out.sent.clear();
        pass(seconds(6));
        const auto id = stranger_.device.peer_by_key(to.public_key);
        if (!id) return;
        stranger_.device.send(*id, ip_packet("10.0.0.9", "10.0.0.8", 40), net_.now, stranger_.out);
        if (stranger_.out.sent.empty()) return;
        const Path path{stranger_.endpoint, {}, 0};
        for (int i = 0; i < count % 80; ++i)
            SLUICE_CHECK(give(to, stranger_.out.sent.front(), &path) != DropReason::kNone);
    }

    void check_invariants() {
        for (End* who : {&net_.a, &net_.b}) {
            SLUICE_CHECK(!who->out.protocol_violated);
            for (; !who->out.received.empty(); who->out.received.pop_front())
                check_received(*who, who->out.received.front());
            if (!has_peer(*who)) continue;
            const PeerState state = state_of(*who);
            SLUICE_CHECK(who->device.route(net_.packet_from(*who)) == peer_of(*who));
            SLUICE_CHECK(state.staged_packets <= kStagedMax);
            SLUICE_CHECK(!state.can_send || state.holds_key_material);
            SLUICE_CHECK(!state.can_send ||
                         state.session_created + kRejectAfterTime > net_.now.mono);
        }
        collect();
    }

    // Delivered is what the other end sent, once, but for a congestion mark.
    void check_received(const End& to, ReceivedPacket& packet) {
        SLUICE_CHECK(packet.bytes.size() >= 40);
        const auto sent = sent_packets_.find(load_be32(packet.bytes.data() + 20));
        SLUICE_CHECK(sent != sent_packets_.end());
        auto [from, original] = sent->second;
        SLUICE_CHECK(from == &net_.other(to));
        SLUICE_CHECK(packet.bytes == original);
        sent_packets_.erase(sent);
        if (&to == &net_.a) ++received_a_;
        if (&to == &net_.b) ++received_b_;
    }

    // With settings that agree and a network that delivers, data flows.
    void heal() {
        for (End* who : {&net_.a, &net_.b}) {
            who->out.refuse_datagrams = who->out.refuse_inner = false;
            if (who->peers.empty()) who->peers.push_back(removed_[who]);
            psk_of(*who) = 0;
            who->peers[0].public_key = net_.other(*who).public_key;
            who->peers[0].persistent_keepalive_s = 0;
            who->peers[0].allowed_ips.resize(1);
            who->peers[0].endpoint.reset();
            configure(*who);
            who->peers[0].endpoint = net_.other(*who).endpoint;
            configure(*who);
            in_flight_[who].clear();
            who->out.sent.clear();
        }
        const int before_a = received_a_;
        const int before_b = received_b_;
        // Dead sessions are noticed after 15 s, a first try may wait 5 s for the one before and
        // need a cookie, each with its jitter.
        for (int second = 0; second < 40; ++second) {
            send(net_.a, 60);
            send(net_.b, 60);
            net_.settle();
            check_received_now();
            net_.pass(seconds(1));
        }
        SLUICE_CHECK(received_a_ > before_a);
        SLUICE_CHECK(received_b_ > before_b);
    }
    void check_received_now() {
        for (End* who : {&net_.a, &net_.b}) {
            for (; !who->out.received.empty(); who->out.received.pop_front())
                check_received(*who, who->out.received.front());
        }
    }

    Script script_;
    TwoDevices net_;
    End stranger_{999, "203.0.113.9:9", net_.now};
    std::map<const End*, std::deque<SentDatagram>> in_flight_;
    std::map<const End*, PeerSettings> removed_;
    std::vector<Recorded> recorded_;
    std::set<std::tuple<const End*, uint32_t, uint64_t>> nonces_;
    // The other end's index of each session that an end answered for, and its own; and the indices
    // on which it has heard authentic data.
    std::map<std::pair<const End*, uint32_t>, uint32_t> answered_;
    std::set<std::pair<const End*, uint32_t>> confirmed_;
    std::map<uint32_t, std::pair<End*, std::vector<uint8_t>>> sent_packets_;
    uint32_t last_packet_ = 0;
    int floods_ = 0;
    uint8_t psk_a_ = 0;
    uint8_t psk_b_ = 0;
    int received_a_ = 0;
    int received_b_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Play(Script(data, size)).run();
    return 0;
}
