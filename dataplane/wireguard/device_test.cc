// The protocol between two devices, message by message.
#include <catch2/catch.hpp>

#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/two_devices.h"

namespace sluice::wireguard {

TEST_CASE("a packet without a session makes a handshake, and arrives after it") {
    TwoDevices net;
    const auto packet = net.packet_from(net.a);
    REQUIRE(net.send(net.a, packet) == DropReason::kNone);
    CHECK(net.state(net.a).staged_packets == 1);

    const SentDatagram initiation = net.take(net.a);
    CHECK(initiation.type() == 1);
    CHECK(initiation.bytes.size() == 148);
    CHECK(initiation.tos == 0x88);
    CHECK(initiation.path.remote == net.b.endpoint);
    CHECK(net.a.out.sent.empty());
    REQUIRE(net.give(net.b, initiation) == DropReason::kNone);

    const SentDatagram response = net.take(net.b);
    CHECK(response.type() == 2);
    CHECK(response.bytes.size() == 92);
    CHECK(response.path.remote == net.a.endpoint);
    CHECK_FALSE(net.state(net.b).can_send);
    REQUIRE(net.give(net.a, response) == DropReason::kNone);
    CHECK(net.state(net.a).can_send);
    CHECK(net.state(net.a).session_initiator);

    const SentDatagram data = net.take(net.a);
    CHECK(data.type() == 4);
    CHECK(data.bytes.size() == 16 + 112 + 16);
    CHECK(net.a.out.sent.empty());
    REQUIRE(net.give(net.b, data) == DropReason::kNone);
    REQUIRE(net.b.out.received.size() == 1);
    CHECK(net.b.out.received[0].bytes == packet);
    CHECK(net.state(net.b).can_send);

    // And back.
    REQUIRE(net.send(net.b, net.packet_from(net.b)) == DropReason::kNone);
    REQUIRE(net.give(net.a, net.take(net.b)) == DropReason::kNone);
    REQUIRE(net.a.out.received.size() == 1);
    CHECK(net.a.out.received[0].bytes == net.packet_from(net.b));
    CHECK_FALSE(net.a.out.protocol_violated);
    CHECK_FALSE(net.b.out.protocol_violated);
}

}  // namespace sluice::wireguard
