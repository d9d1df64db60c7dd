"""The node against a WireGuard end that was written by hand from the paper: every message as it has to be, and
then with one thing wrong at a time."""

import os
import random
import struct
import subprocess

from harness import cleanup, handmade
from harness.case import SystemTest, on_both_engines
from harness.handmade import HandmadePeer, echo_reply_number, echo_request
from harness.network import Topology
from harness.processes import Failed
from harness.waiting import until
from harness.wireguard import KeyPair, make_preshared_key

# What is accepted behind the highest counter: the 8192 of the window, without the word that is being filled.
WINDOW_REACH = 8192 - 64
REJECT_AFTER_MESSAGES = 2**64 - 1 - 2**13
SHARED_INNER = "10.98.0.3"
# What the node's own kernel may send into the tunnel at any moment, neighbour discovery for example.
TOWARDS_PEERS = {"inner_no_peer", "inner_no_endpoint", "staged_overflow", "staged_expired"}


class HandmadeTest(SystemTest):
    """A node whose two peers, one with a preshared key, are ends made by hand."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.preshared_key = make_preshared_key()
        file = cls.directory / "handmade.psk"
        file.touch(mode=0o600)
        file.write_text(cls.preshared_key + "\n")
        cls.node_keys()
        cls.plain, cls.shared = KeyPair.make(), KeyPair.make()
        document = cls.make_configuration(
            {"name": "plain", "public_key": cls.plain.public, "allowed_ips": [f"{Topology.CLIENT_INNER}/32"]},
            {"name": "shared", "public_key": cls.shared.public, "preshared_key_file": file,
             "allowed_ips": [f"{SHARED_INNER}/32"]})
        cls.node = cls.make_node(document)
        cls.node.start()
        cls.addClassCleanup(cls.stop_node)

    @classmethod
    def stop_node(cls) -> None:
        if cls.node.process.exit_code() is None:
            cls.node.stop()

    def make_peer(self, **options) -> HandmadePeer:
        options.setdefault("keys", self.plain)
        return HandmadePeer(self.topology.client, self.node_keys().public, **options)

    def connected(self, *, inner: str = Topology.CLIENT_INNER, **options) -> HandmadePeer:
        """With a session that is confirmed: a ping went through."""
        peer = self.make_peer(**options)
        # Its predecessor's last handshake may have been a moment ago; the node takes 50 a second of one key.
        until(lambda: self.tries_handshake(peer), "the node answers a handshake")
        self.assert_answers(peer, 0, source=inner)
        return peer

    def tries_handshake(self, peer: HandmadePeer) -> bool:
        before = self.drops("handshake_flood")
        peer.send(peer.initiation())
        answered = until(lambda: peer.drain() or [None] * (self.drops("handshake_flood") > before),
                         "the node answers an initiation or counts it")
        if answered[0] is None:
            return False
        peer.finish(answered[0])
        return True

    def drops(self, reason: str) -> int:
        return self.node.status()["drops"].get(reason, 0)

    def received_drops(self) -> dict[str, int]:
        return {reason: count for reason, count in self.node.status()["drops"].items()
                if reason not in TOWARDS_PEERS}

    def assert_answers(self, peer: HandmadePeer, number: int, **options) -> list[bytes]:
        """A ping comes back; the result is what else came before it."""
        peer.send(peer.session.seal(echo_request(number, **options)))
        before = []
        while True:
            datagram = peer.receive()
            if datagram[0] == handmade.DATA:
                _, packet = peer.session.unseal(datagram)
                if echo_reply_number(packet) == number:
                    return before
            before.append(datagram)

    def assert_silent(self, peer: HandmadePeer, datagram: bytes, reason: str) -> None:
        """The datagram is dropped for this reason and no other, and nothing is sent because of it."""
        before = self.received_drops()
        peer.send(datagram)
        until(lambda: self.drops(reason) > before.get(reason, 0), f"{reason} is counted")
        # The node takes what comes from one place in order, so an answer would come before this one.
        self.assertEqual(self.assert_answers(peer, 7), [], reason)
        self.assertEqual(self.received_drops(), {**before, reason: before.get(reason, 0) + 1})

    def state(self, name: str = "plain") -> dict:
        code, answer = self.node.ask("/v1/peers")
        self.assertEqual(code, 200, answer)
        (found,) = [peer for peer in answer["peers"] if peer["name"] == name]
        return found

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}\ndrops: {self.node.status()['drops']}"


@on_both_engines
class Conformance(HandmadeTest):
    def test_handshakes_and_pings_of_every_size(self) -> None:
        for keys, preshared, inner in ((self.plain, None, Topology.CLIENT_INNER),
                                       (self.shared, self.preshared_key, SHARED_INNER)):
            for own, node in ((Topology.CLIENT, Topology.NODE), (Topology.CLIENT6, Topology.NODE6)):
                with self.subTest(own=own, preshared=bool(preshared)):
                    peer = self.connected(keys=keys, preshared_key=preshared, inner=inner,
                                          address=own, node_address=node)
                    for number, size in enumerate((0, 1, 3, 4, 5, 20, 500, 1391, 1392)):
                        self.assertEqual(self.assert_answers(peer, number, size=size, source=inner), [])

    def test_data_of_the_node_is_counted_from_zero_and_padded(self) -> None:
        peer = self.make_peer()
        until(lambda: self.tries_handshake(peer), "the node answers a handshake")
        for number, size in enumerate((0, 1, 8, 100, 1385, 1392)):
            peer.send(peer.session.seal(echo_request(number, size=size)))
            counter, packet = peer.session.unseal(peer.receive())
            self.assertEqual(counter, number)
            self.assertEqual(echo_reply_number(packet), number)
            packet_size = 28 + size
            padded = min((packet_size + 15) // 16 * 16, 1420)  # never beyond the MTU
            self.assertEqual(len(packet), padded)
            self.assertEqual(packet[packet_size:], bytes(padded - packet_size))

    def test_the_node_does_not_speak_on_a_session_before_its_initiator_has(self) -> None:
        peer = self.make_peer()
        until(lambda: self.tries_handshake(peer), "the node answers a handshake")
        ping = self.topology.node.popen(["ping", "-c", "1", "-W", "20", Topology.CLIENT_INNER],
                                        stdout=subprocess.DEVNULL)
        cleanup.later(ping.kill)
        until(lambda: self.sent_to_tunnel() > 0, "the ping is in the tunnel's interface")
        self.assertEqual(peer.drain(), [])
        peer.send(peer.session.seal(b""))
        counter, packet = peer.session.unseal(peer.receive())
        self.assertEqual((counter, packet[9], packet[20]), (0, 1, 8), "the node's echo request")
        ping.kill()
        ping.wait()

    def sent_to_tunnel(self) -> int:
        with self.topology.node.entered(), open("/proc/net/dev") as devices:
            (line,) = [line for line in devices if line.strip().startswith(self.node.interface + ":")]
        return int(line.split(":")[1].split()[9])

    def test_a_keepalive_is_counted_and_not_answered(self) -> None:
        peer = self.connected()
        before = self.state()["received_bytes"]
        peer.send(peer.session.seal(b""))
        until(lambda: self.state()["received_bytes"] == before + handmade.KEEPALIVE_SIZE, "the keepalive is counted")
        self.assertEqual(self.assert_answers(peer, 1), [])

    def test_counters_out_of_order_are_taken_once_each(self) -> None:
        peer = self.connected()
        counters = list(range(1, 101))
        random.Random(1).shuffle(counters)
        messages = {counter: peer.session.seal(echo_request(counter), counter=counter) for counter in counters}
        peer.session.counter = 101
        for counter in counters:
            peer.send(messages[counter])
            _, packet = peer.session.unseal(peer.receive())
            self.assertEqual(echo_reply_number(packet), counter)
        for counter in counters:
            peer.send(messages[counter])
        self.assertEqual(self.assert_answers(peer, 101), [])

    def test_the_edges_of_the_replay_window(self) -> None:
        peer = self.connected()
        highest = 20_000
        peer.session.counter = highest
        self.assert_answers(peer, 1)
        for behind, taken in ((WINDOW_REACH + 1, False), (WINDOW_REACH, True), (WINDOW_REACH, False),
                              (WINDOW_REACH - 1, True), (1, True), (1, False), (0, False)):
            with self.subTest(behind=behind, taken=taken):
                message = peer.session.seal(echo_request(2), counter=highest - behind)
                before = self.drops("data_replayed")
                peer.send(message)
                if taken:
                    _, packet = peer.session.unseal(peer.receive())
                    self.assertEqual(echo_reply_number(packet), 2)
                else:
                    until(lambda: self.drops("data_replayed") > before, "it is counted as replayed")
                    self.assertEqual(peer.drain(), [])

    def test_a_session_is_out_of_messages_at_the_last_counters(self) -> None:
        peer = self.connected()
        for beyond in (REJECT_AFTER_MESSAGES, 2**64 - 1):
            self.assert_silent(peer, peer.session.seal(echo_request(1), counter=beyond), "session_expired")
        peer.send(peer.session.seal(echo_request(2), counter=REJECT_AFTER_MESSAGES - 1))
        _, packet = peer.session.unseal(peer.receive())
        self.assertEqual(echo_reply_number(packet), 2)

    def test_a_session_survives_its_successors_handshake_until_that_is_confirmed(self) -> None:
        peer = self.connected()
        old = peer.session
        until(lambda: self.tries_handshake(peer), "the node answers a handshake")
        new, peer.session = peer.session, old
        self.assert_answers(peer, 1)
        peer.session = new
        self.assert_answers(peer, 2)
        # What is under way on the old one still arrives; its answer comes on the new one.
        peer.send(old.seal(echo_request(3)))
        _, packet = new.unseal(peer.receive())
        self.assertEqual(echo_reply_number(packet), 3)

    def test_the_endpoint_moves_with_authentic_messages_only(self) -> None:
        peer = self.connected()
        place = peer.socket
        moved = peer.open(Topology.CLIENT)
        forged = bytearray(peer.session.seal(echo_request(1)))
        forged[-1] ^= 1
        before = self.drops("data_invalid")
        moved.sendto(forged, peer.node)
        until(lambda: self.drops("data_invalid") > before, "the forged message is counted")
        self.assertEqual(self.state()["endpoint"], f"{Topology.CLIENT}:{place.getsockname()[1]}")
        peer.socket = moved
        self.assertEqual(self.assert_answers(peer, 2), [])
        self.assertEqual(self.state()["endpoint"], f"{Topology.CLIENT}:{moved.getsockname()[1]}")

    def test_inner_packets_that_lie(self) -> None:
        peer = self.connected()
        seal, ping = peer.session.seal, echo_request(9)
        long = ping[:2] + struct.pack(">H", 37 + 16) + ping[4:]
        short_head = b"\x44" + ping[1:]
        for what, packet, reason in (
                ("a source of nobody", echo_request(9, source="10.98.0.77"), "inner_source_not_allowed"),
                ("a source of another peer", echo_request(9, source=SHARED_INNER), "inner_source_not_allowed"),
                ("the node's own source", echo_request(9, source=Topology.NODE_INNER), "inner_source_not_allowed"),
                ("neither IPv4 nor IPv6", b"\x55" + ping[1:], "inner_malformed"),
                ("longer than it is", long, "inner_malformed"),
                ("a header shorter than a header", short_head, "inner_malformed"),
                ("too short for a header", ping[:16], "inner_malformed"),
                ("too short for an IPv6 header", b"\x60" + bytes(31), "inner_malformed"),
                ("nothing but padding", bytes(16), "inner_malformed")):
            with self.subTest(what):
                self.assert_silent(peer, seal(packet), reason)

    def test_padding_of_any_length_is_taken_off(self) -> None:
        peer = self.connected()
        for extra in (0, 1, 2, 15, 16, 17, 400):
            peer.send(peer.session.seal(echo_request(5, size=9) + bytes(extra), pad=False))
            _, packet = peer.session.unseal(peer.receive())
            self.assertEqual(echo_reply_number(packet), 5)
            self.assertEqual(struct.unpack_from(">H", packet, 2)[0], 37)


@on_both_engines
class Silence(HandmadeTest):
    """What must get no answer at all, with the reason that it is counted under."""

    def test_datagrams_of_no_form(self) -> None:
        peer = self.connected()
        sizes = {handmade.INITIATION: 148, handmade.RESPONSE: 92, handmade.COOKIE_REPLY: 64}
        for size in (0, 1, 4, 31):
            self.assert_silent(peer, b"\4\0\0\0\0"[:size] + bytes(max(size - 5, 0)), "datagram_too_short")
        for kind in (0, 5, 255):
            self.assert_silent(peer, struct.pack("<I", kind) + bytes(144), "datagram_bad_type")
        for kind, size in sizes.items():
            for wrong in (size - 1, size + 1, 32, 1500, 65_507):
                self.assert_silent(peer, struct.pack("<I", kind) + os.urandom(wrong - 4), "datagram_bad_length")
        self.assert_silent(peer, struct.pack("<I", handmade.DATA) + os.urandom(65_503), "receiver_index_unknown")

    def test_reserved_bytes_that_are_not_zero(self) -> None:
        peer = self.connected()
        good = peer.session.seal(echo_request(1))
        initiation = peer.initiation()
        for message in (good, initiation):
            for place in (1, 2, 3):
                wrong = message[:place] + b"\1" + message[place + 1:]
                self.assert_silent(peer, wrong, "datagram_bad_type")

    def test_handshakes_that_are_wrong_in_one_place(self) -> None:
        peer = self.connected()
        fields = {"index": 4, "ephemeral key": 8, "static key": 40, "its tag": 87, "time": 88, "its tag, too": 115}
        for field, place in fields.items():
            with self.subTest(field):
                message = bytearray(peer.initiation()[:116])
                message[place] ^= 1
                if field == "index":  # it is not authenticated by itself; the first MAC is what covers it
                    self.assert_silent(peer, message + peer.initiation()[116:], "mac1_invalid")
                else:
                    self.assert_silent(peer, peer.sign(bytes(message)), "handshake_invalid")
        for place in (116, 131):
            message = bytearray(peer.initiation())
            message[place] ^= 1
            self.assert_silent(peer, bytes(message), "mac1_invalid")

    def test_ephemeral_keys_of_low_order(self) -> None:
        peer = self.connected()
        for point in (bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
            message = bytearray(peer.initiation()[:116])
            message[8:40] = point
            self.assert_silent(peer, peer.sign(bytes(message)), "handshake_invalid")

    def test_a_key_that_is_not_configured(self) -> None:
        peer = self.connected()
        stranger = self.make_peer(keys=KeyPair.make())
        self.assert_silent(peer, stranger.initiation(), "handshake_unknown_peer")

    def test_the_wrong_preshared_key_makes_no_session(self) -> None:
        peer = self.make_peer(keys=self.shared)
        until(lambda: self.response_to(peer), "the node answers an initiation")

    def response_to(self, peer: HandmadePeer) -> bool:
        """The node cannot know before; so it answers, and this end sees that it is the wrong key."""
        before = self.drops("handshake_flood")
        peer.send(peer.initiation())
        answered = until(lambda: peer.drain() or [None] * (self.drops("handshake_flood") > before), "an answer")
        if answered[0] is None:
            return False
        with self.assertRaises(handmade.Forged):
            peer.finish(answered[0])
        return True

    def test_initiations_that_are_not_newer(self) -> None:
        peer = self.connected()
        first = peer.initiation()
        peer.send(first)
        peer.finish(peer.receive())
        self.assert_answers(peer, 1)
        self.assert_silent(peer, first, "handshake_replayed")
        session = peer.session
        old = peer.initiation(when=handmade.timestamp(10**18))
        peer.session = session
        self.assert_silent(peer, old, "handshake_replayed")

    def test_answers_to_nothing(self) -> None:
        peer = self.connected()
        response = struct.pack("<III", handmade.RESPONSE, 1, peer.session.remote_index) + os.urandom(48)
        self.assert_silent(peer, peer.sign(response), "handshake_unexpected")
        unknown = struct.pack("<II", handmade.COOKIE_REPLY, peer.session.remote_index ^ 0xFFFFFF) + os.urandom(56)
        self.assert_silent(peer, unknown, "cookie_unexpected")

    def test_data_that_is_not_ours(self) -> None:
        peer = self.connected()
        message = peer.session.seal(echo_request(1))
        strange = message[:4] + struct.pack("<I", peer.session.remote_index ^ 0xFFFFFF) + message[8:]
        self.assert_silent(peer, strange, "receiver_index_unknown")
        for place in (9, 16, len(message) - 1):  # the counter, the packet, the tag
            wrong = bytearray(message)
            wrong[place] ^= 1
            self.assert_silent(peer, bytes(wrong), "data_invalid")
        self.assertEqual(self.assert_answers(peer, 2), [])

    def test_a_packet_larger_than_any_interface(self) -> None:
        """65,507 bytes outside, authentic: it reaches the kernel whole or is counted, and the next one is served."""
        peer = self.connected()
        size = 65_507 - 32 - 28 - 15
        peer.send(peer.session.seal(echo_request(6, size=size)))
        self.assert_answers(peer, 7)


class AskedTest(HandmadeTest):
    """The node begins."""

    def begin(self, peer: HandmadePeer) -> None:
        address, port = peer.socket.getsockname()[:2]
        host = f"[{address}]" if ":" in address else address
        # The change of 0 to something is what makes the node speak at once.
        for seconds in ("0", "1"):
            self.topology.node.run("wg", "set", self.node.interface, "peer", peer.keys.public,
                                   "endpoint", f"{host}:{port}", "persistent-keepalive", seconds)
        cleanup.later(lambda: self.end(peer))

    def end(self, peer: HandmadePeer) -> None:
        try:
            self.topology.node.run("wg", "set", self.node.interface, "peer", peer.keys.public,
                                   "persistent-keepalive", "0")
        except Failed:
            pass  # the node has ended, which its own test reports

    def initiation_for(self, peer: HandmadePeer) -> bytes:
        while True:
            datagram = peer.receive()
            if datagram[0] == handmade.INITIATION:
                return datagram


@on_both_engines
class Answering(AskedTest):
    def test_its_handshake_is_answered_and_confirmed(self) -> None:
        for keys, preshared, own, node in (
                (self.plain, None, Topology.CLIENT, Topology.NODE),
                (self.shared, self.preshared_key, Topology.CLIENT6, Topology.NODE6)):
            with self.subTest(own=own, preshared=bool(preshared)):
                peer = self.make_peer(keys=keys, preshared_key=preshared, address=own, node_address=node)
                self.begin(peer)
                response, session = peer.answer(self.initiation_for(peer))
                peer.send(response)
                # The keepalive that confirms the session, at once.
                self.assertEqual(session.unseal(peer.receive()), (0, b""))
                inner = Topology.CLIENT_INNER if keys is self.plain else SHARED_INNER
                peer.send(session.seal(echo_request(1, source=inner)))
                while echo_reply_number(session.unseal(peer.receive())[1]) != 1:
                    pass  # persistent keepalives
                self.end(peer)


class AnsweringOtherwise(AskedTest):
    def test_an_end_that_answers_from_another_address_is_there_from_then_on(self) -> None:
        peer = self.make_peer()
        self.begin(peer)
        response, session = peer.answer(self.initiation_for(peer))
        asked, peer.socket = peer.socket, peer.open(Topology.CLIENT)
        peer.send(response)
        self.assertEqual(session.unseal(peer.receive()), (0, b""))
        self.assertEqual(self.state()["endpoint"], f"{Topology.CLIENT}:{peer.port}")
        asked.setblocking(False)
        with self.assertRaises(BlockingIOError):
            asked.recv(1 << 16)

    def test_a_cookie_is_put_into_the_next_attempt(self) -> None:
        """The next attempt comes five seconds after the first."""
        peer = self.make_peer(keys=self.shared, preshared_key=self.preshared_key)
        self.begin(peer)
        first = self.initiation_for(peer)
        self.assertEqual(first[-16:], bytes(16), "a second MAC without a cookie")
        forged = bytearray(peer.cookie_reply(first, bytes(16)))
        forged[-1] ^= 1
        before = self.drops("cookie_invalid")
        peer.send(bytes(forged))
        until(lambda: self.drops("cookie_invalid") > before, "the forged cookie is counted")
        cookie = os.urandom(16)
        peer.send(peer.cookie_reply(first, cookie))
        second = self.initiation_for(peer)
        self.assertEqual(second[-16:], handmade.blake2s(second[:-16], key=cookie, size=16))
        response, session = peer.answer(second)
        peer.send(response)
        self.assertEqual(session.unseal(peer.receive()), (0, b""))
