// Every rule about time, on a virtual clock.
#include <catch2/catch.hpp>

#include "dataplane/base/timer_wheel.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

namespace {

// A timer fires on the wheel's next tick.
constexpr Duration kTick = TimerWheel::kTick;

// How long after `from` the end sends its next datagram; kNever's distance if not within `limit`.
// The datagram stays.
Duration until_sent(TwoDevices& net, End& end, Duration limit) {
    const Instant from = net.now.mono;
    const size_t before = end.out.sent.size();
    while (net.now.mono < from + limit) {
        net.pass(milliseconds(1));
        if (end.out.sent.size() > before) return net.now.mono - from;
    }
    return Duration::max();
}

bool between(Duration value, Duration low, Duration high) {
    return value >= low && value <= high;
}

}  // namespace

TEST_CASE("an unanswered initiation is repeated every 5 to 5.334 s, each time a new one") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    SentDatagram last = net.take(net.a);
    std::vector<Duration> gaps;
    for (int i = 0; i < 10; ++i) {
        const Duration gap = until_sent(net, net.a, seconds(10));
        REQUIRE(between(gap, kRekeyTimeout, kRekeyTimeout + kJitterMax + 2 * kTick));
        gaps.push_back(gap);
        const SentDatagram next = net.take(net.a);
        REQUIRE(next.type() == 1);
        CHECK(next.bytes != last.bytes);
        CHECK(load_le32(next.bytes.data() + 4) != load_le32(last.bytes.data() + 4));
        last = next;
    }
    // With jitter, they are not all the same.
    CHECK(*std::max_element(gaps.begin(), gaps.end()) >
          *std::min_element(gaps.begin(), gaps.end()) + milliseconds(20));
    // Only the last one's answer counts.
    REQUIRE(net.give(net.b, last) == DropReason::kNone);
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE(
    "the first try leaves from where the peer was heard, a retry from where the kernel chooses") {
    TwoDevices net;
    net.connect();
    net.send(net.b, net.packet_from(net.b));
    net.settle();
    net.pass(kRejectAfterTime);
    net.a.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram first = net.take(net.a);
    REQUIRE(first.type() == 1);
    CHECK(first.path.local == net.a.endpoint.address);
    CHECK(first.path.interface_index == 1);
    until_sent(net, net.a, seconds(10));
    const SentDatagram retry = net.take(net.a);
    REQUIRE(retry.type() == 1);
    CHECK_FALSE(retry.path.local.is_set());
    CHECK(retry.path.interface_index == 0);
    CHECK(retry.path.remote == net.b.endpoint);
}

TEST_CASE("after 90 s a handshake is given up, what waited is dropped, and new data begins anew") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    net.send(net.a, net.packet_from(net.a));
    const Instant began = net.now.mono;
    net.pass(seconds(89));
    CHECK(net.state(net.a).staged_packets == 2);
    CHECK(net.state(net.a).holds_key_material);
    net.pass(seconds(7));
    CHECK(net.state(net.a).staged_packets == 0);
    CHECK(net.a.drops.value(DropReason::kStagedExpired) == 2);
    CHECK_FALSE(net.state(net.a).holds_key_material);
    const size_t tries = net.a.out.sent.size();
    CHECK(tries >= 17);
    CHECK(tries <= 18);
    net.pass(seconds(600));
    CHECK(net.a.out.sent.size() == tries);
    CHECK(net.a.device.next_deadline() == kNever);
    CHECK(net.now.mono - began > seconds(690));

    net.a.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

TEST_CASE("as long as there is new data, trying goes on") {
    TwoDevices net;
    size_t initiations = 0;
    for (int second = 0; second < 300; ++second) {
        net.send(net.a, net.packet_from(net.a));
        net.pass(seconds(1));
        for (; !net.a.out.sent.empty(); net.a.out.sent.pop_front())
            initiations += net.a.out.sent.front().type() == 1 ? 1 : 0;
    }
    CHECK(initiations >= 300 / 6);
    CHECK(initiations <= 300 / 5);
}

TEST_CASE("own initiations are at least 5 s apart, whatever asks for them") {
    TwoDevices net;
    net.connect();
    net.pass(kRejectAfterTime);
    net.a.out.sent.clear();
    for (int i = 0; i < 50; ++i) {
        net.send(net.a, net.packet_from(net.a));
        net.pass(milliseconds(90));
    }
    CHECK(net.a.out.sent.size() == 1);
}

TEST_CASE("received data is answered with a keepalive after 10 s, if nothing else was sent") {
    TwoDevices net;
    net.connect();
    // connect() delivered data to b, which has sent nothing since.
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    net.pass(kKeepaliveTimeout - seconds(1));
    CHECK(net.b.out.sent.empty());
    net.pass(seconds(1) + kTick);
    REQUIRE(net.b.out.sent.size() == 1);
    CHECK(net.b.out.sent.front().bytes.size() == 32);
}

TEST_CASE("data the other way makes the keepalive unnecessary") {
    TwoDevices net;
    net.connect();
    net.pass(seconds(1));
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    net.pass(seconds(5));
    net.send(net.b, net.packet_from(net.b));
    net.settle();
    net.b.out.sent.clear();
    // a's keepalive for b's data comes 10 s later; b has nothing to say.
    net.pass(seconds(9));
    CHECK(net.a.out.sent.empty());
    CHECK(net.b.out.sent.empty());
    net.pass(seconds(1) + kTick);
    CHECK(net.a.out.sent.size() == 1);
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("data that comes while a keepalive is due makes for one more, and then it is quiet") {
    TwoDevices net;
    net.connect();
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    net.pass(seconds(8));
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    net.pass(seconds(30));
    // One at 10 s for the first, one at 20 s for what came meanwhile.
    size_t keepalives = 0;
    for (const SentDatagram& datagram : net.b.out.sent)
        keepalives += datagram.bytes.size() == 32 ? 1 : 0;
    CHECK(keepalives == 2);
}

TEST_CASE("a keepalive is not answered with a keepalive") {
    TwoDevices net;
    net.connect();
    net.pass(kKeepaliveTimeout + kTick);
    net.settle();
    net.pass(seconds(30));
    CHECK(net.a.out.sent.empty());
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("data that nothing answers for 15 s begins a new handshake") {
    TwoDevices net;
    net.connect();
    net.pass(seconds(12));
    net.settle();
    net.send(net.a, net.packet_from(net.a));
    net.a.out.sent.clear();
    const Duration after = until_sent(net, net.a, seconds(20));
    CHECK(between(after, kNewHandshakeTime, kNewHandshakeTime + kJitterMax + 2 * kTick));
    const SentDatagram initiation = net.take(net.a);
    CHECK(initiation.type() == 1);
    // The way may have changed, so the source address is left to the kernel.
    CHECK_FALSE(initiation.path.local.is_set());
    CHECK(initiation.path.remote == net.b.endpoint);
}

TEST_CASE("more unanswered data does not put the new handshake off") {
    TwoDevices net;
    net.connect();
    net.pass(seconds(12));
    net.settle();
    const Instant began = net.now.mono;
    Instant initiated = kNever;
    while (net.now.mono < began + seconds(20) && initiated == kNever) {
        net.send(net.a, net.packet_from(net.a));
        net.pass(milliseconds(100));
        for (; !net.a.out.sent.empty(); net.a.out.sent.pop_front()) {
            if (net.a.out.sent.front().type() == 1) initiated = net.now.mono;
        }
    }
    CHECK(between(initiated - began, kNewHandshakeTime,
                  kNewHandshakeTime + kJitterMax + milliseconds(110)));
}

TEST_CASE("packets that went out with the confirmation are missed like any others") {
    TwoDevices net;
    net.send(net.a, net.packet_from(net.a));
    net.give(net.b, net.take(net.a));
    net.give(net.a, net.take(net.b));
    // Waits for the first message of the session, which comes at once and lets it go.
    net.send(net.b, net.packet_from(net.b));
    CHECK(net.state(net.b).staged_packets == 1);
    net.give(net.b, net.take(net.a));
    CHECK(net.take(net.b).type() == 4);  // and is lost
    REQUIRE(net.b.out.sent.empty());
    const Duration after = until_sent(net, net.b, seconds(20));
    CHECK(net.take(net.b).type() == 1);
    CHECK(between(after, kNewHandshakeTime, kNewHandshakeTime + kJitterMax + 2 * kTick));
}

TEST_CASE("any authentic answer, a keepalive too, is a sign of life") {
    TwoDevices net;
    net.connect();
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    net.pass(kKeepaliveTimeout + kTick);
    net.settle();
    net.pass(seconds(30));
    CHECK(net.a.out.sent.empty());
    CHECK(net.a.device.handshakes_completed() == 1);
}

TEST_CASE("the initiator renews a session that it sends on after 120 s; the responder does not") {
    TwoDevices net;
    net.connect();
    net.pass(kRekeyAfterTime - seconds(1));
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    CHECK(net.a.out.sent.size() == 1);
    net.settle();
    net.pass(seconds(1));
    // The responder's packet goes out, and nothing else.
    net.send(net.b, net.packet_from(net.b));
    CHECK(net.b.out.sent.size() == 1);
    net.settle();
    net.send(net.a, net.packet_from(net.a));
    REQUIRE(net.a.out.sent.size() == 2);
    CHECK(net.a.out.sent[0].type() == 4);
    CHECK(net.a.out.sent[1].type() == 1);
    net.settle();
    CHECK(net.a.device.handshakes_completed() == 2);
    CHECK(net.state(net.a).session_created == net.now.mono);
    CHECK(net.state(net.b).session_created == net.now.mono);
    // Everything arrived.
    CHECK(net.b.out.received.size() == 2);
    CHECK(net.a.out.received.size() == 1);
}

TEST_CASE("receiving at 164 s asks for nothing, at 165 s for a handshake, and only once") {
    TwoDevices net;
    net.connect();
    const Instant made = net.state(net.a).session_created;
    // Datagrams that b sends while a is not looking at its clock.
    std::vector<SentDatagram> from_b;
    for (int i = 0; i < 4; ++i) {
        net.send(net.b, net.packet_from(net.b));
        from_b.push_back(net.take(net.b));
    }
    net.a.out.sent.clear();
    net.advance_to(made + seconds(165) - Duration(1));
    net.give(net.a, from_b[0]);
    CHECK(net.a.out.sent.empty());
    net.advance_to(made + seconds(165));
    net.give(net.a, from_b[1]);
    REQUIRE(net.a.out.sent.size() == 1);
    CHECK(net.a.out.sent.front().type() == 1);
    net.advance_to(made + seconds(175));
    net.give(net.a, from_b[2]);
    net.give(net.a, from_b[3]);
    CHECK(net.a.out.sent.size() == 1);
}

TEST_CASE("a responder that only receives asks for nothing") {
    TwoDevices net;
    net.connect();
    const Instant made = net.state(net.b).session_created;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram data = net.take(net.a);
    net.advance_to(made + seconds(179));
    net.give(net.b, data);
    CHECK(net.b.out.sent.empty());
}

TEST_CASE("after 180 s a session neither sends nor receives") {
    TwoDevices net;
    net.connect();
    const Instant made = net.state(net.a).session_created;
    net.send(net.a, net.packet_from(net.a));
    const SentDatagram early = net.take(net.a);
    net.send(net.b, net.packet_from(net.b));
    const SentDatagram other = net.take(net.b);
    net.advance_to(made + kRejectAfterTime - Duration(1));
    CHECK(net.give(net.b, early) == DropReason::kNone);
    net.advance_to(made + kRejectAfterTime);
    CHECK(net.give(net.a, other) == DropReason::kSessionExpired);
    net.a.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    CHECK_FALSE(net.state(net.a).can_send);
    CHECK(net.state(net.a).staged_packets == 1);
    REQUIRE(net.a.out.sent.size() == 1);
    CHECK(net.a.out.sent.front().type() == 1);
    net.settle();
    CHECK(net.b.out.received.size() == 2);
}

TEST_CASE("540 s after the last session all keys are gone, on both ends") {
    TwoDevices net;
    net.connect();
    net.pass(kZeroKeysTime - seconds(1));
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    CHECK(net.state(net.a).holds_key_material);
    CHECK(net.state(net.b).holds_key_material);
    net.pass(seconds(1) + kTick);
    CHECK_FALSE(net.state(net.a).holds_key_material);
    CHECK_FALSE(net.state(net.b).holds_key_material);
    // An unconfirmed answer counts as well.
    net.send(net.a, net.packet_from(net.a));
    net.give(net.b, net.take(net.a));
    CHECK(net.state(net.b).holds_key_material);
    net.pass(kZeroKeysTime + kTick);
    CHECK_FALSE(net.state(net.b).holds_key_material);
    CHECK_FALSE(net.state(net.a).holds_key_material);
}

TEST_CASE("persistent keepalive: at once, then after each interval without traffic either way") {
    TwoDevices net;
    net.a.peers[0].persistent_keepalive_s = 25;
    net.configure();
    net.settle();
    CHECK(net.state(net.b).can_send);
    for (int i = 0; i < 3; ++i) {
        const Duration gap = until_sent(net, net.a, seconds(30));
        REQUIRE(between(gap, seconds(25), seconds(25) + 2 * kTick));
        const SentDatagram keepalive = net.take(net.a);
        CHECK(keepalive.bytes.size() == 32);
        net.give(net.b, keepalive);
    }
    // Authentic traffic either way puts it off.
    net.pass(seconds(20));
    net.send(net.b, net.packet_from(net.b));
    net.settle();
    net.pass(seconds(20));
    // Only the keepalive that b's data asked for after 10 s.
    CHECK(net.a.out.sent.size() == 1);
    net.a.out.sent.clear();
    net.a.peers[0].persistent_keepalive_s = 0;
    net.configure();
    net.pass(seconds(100));
    CHECK(net.a.out.sent.empty());
}

TEST_CASE("persistent keepalive goes on although the other end is away for hours") {
    TwoDevices net;
    net.a.peers[0].persistent_keepalive_s = 25;
    net.configure();
    net.settle();
    net.pass(seconds(4 * 3600));
    net.a.out.sent.clear();
    net.pass(seconds(150));
    REQUIRE_FALSE(net.a.out.sent.empty());
    net.give(net.b, net.a.out.sent.back());
    net.a.out.sent.clear();
    net.settle();
    CHECK(net.state(net.b).can_send);
}

TEST_CASE("an answer of ours that was lost does not hold our own packets up for long") {
    TwoDevices net;
    net.b.peers[0].endpoint = net.a.endpoint;
    net.configure();
    net.send(net.a, net.packet_from(net.a));
    net.give(net.b, net.take(net.a));
    net.take(net.b);  // lost, and a is gone
    net.a.out.sent.clear();
    net.pass(seconds(1));
    net.send(net.b, net.packet_from(net.b));
    CHECK(net.b.out.sent.empty());  // an answer went out less than 5 s ago
    const Duration after = until_sent(net, net.b, seconds(10));
    CHECK(between(after, seconds(4), seconds(4) + kJitterMax + 2 * kTick));
    CHECK(net.b.out.sent.front().type() == 1);
}

TEST_CASE("an idle device has nothing to do") {
    TwoDevices net;
    CHECK(net.a.device.next_deadline() == kNever);
    net.connect();
    net.pass(seconds(1000));
    CHECK(net.a.device.next_deadline() == kNever);
    CHECK(net.b.device.next_deadline() == kNever);
}

TEST_CASE("a clock that was set back does not lock us out") {
    TwoDevices net;
    net.connect();
    net.now.wall -= seconds(86400);
    net.pass(kRejectAfterTime);
    net.a.out.sent.clear();
    net.b.out.sent.clear();
    net.send(net.a, net.packet_from(net.a));
    net.settle();
    CHECK(net.b.out.received.size() == 1);
}

}  // namespace sluice::wireguard
