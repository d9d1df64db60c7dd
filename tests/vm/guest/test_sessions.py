"""Sessions that are made, replaced, lost and found again, and the keys that they come from."""

import time

from harness.payload import Payload
from harness.waiting import until
from harness.wireguard import KeyPair, make_preshared_key

from case import TunnelTest, over_both_families, takes_minutes
from ends import PATIENCE, secret
from traffic import Connection, Datagrams, Pinger
from wire import DATA, INITIATION, KERNEL_INNER, RESPONSE, SLUICE_INNER, ip

KEEPALIVE = 32  # bytes of a data message without data
SOME = Payload(seed=1, size=300_000)


class SessionTest(TunnelTest):
    def connection(self) -> Connection:
        """A TCP connection that has to live on, whatever happens to the sessions below it."""
        made = Connection(self.wire.kernel, self.wire.sluice, SLUICE_INNER[4])
        self.addCleanup(made.close)
        return made

    def sessions(self) -> int:
        """How many the kernel has made so far."""
        return len([line for line in self.log.lines("Keypair") if "created" in line])


class PresharedKey(SessionTest):
    outer = 6

    def test_the_kernel_opens_the_tunnel_with_the_right_one_only(self) -> None:
        right, wrong = make_preshared_key(), make_preshared_key()
        self.kernel.make(self.sluice_as_peer(known=True, preshared_key=wrong))
        self.sluice.start(self.kernel_as_peer(known=False, preshared_key=right))
        self.running, self.expected = True, ("Invalid handshake response", "did not complete")
        with Pinger(self.wire.kernel, SLUICE_INNER[4]) as pinger:
            pinger.ping(seconds=0.1)
            self.log.await_line("Invalid handshake response", PATIENCE)
            self.assertEqual(self.kernel.show().handshake, 0)
            # As a new peer it need not wait for 5 s with its next attempt.
            self.kernel.remove_peer(self.sluice.keys.public)
            self.kernel.set_peer(self.sluice_as_peer(known=True, preshared_key=right))
            self.assertTrue(pinger.ping())

    def test_sluice_opens_the_tunnel_with_the_right_one_only(self) -> None:
        right, wrong = make_preshared_key(), make_preshared_key()
        self.kernel.make(self.sluice_as_peer(known=False, preshared_key=right))
        self.sluice.start(self.kernel_as_peer(known=True, preshared_key=wrong))
        self.running = True
        with Pinger(self.wire.sluice, KERNEL_INNER[4]) as pinger:
            pinger.ping(seconds=0.1)
            until(lambda: self.sluice.drops().get("handshake_invalid"), "Sluice refuses the response", PATIENCE)
            self.assertEqual(self.sluice.show().handshake, 0)
            self.sluice.set("peer", self.kernel.keys.public, "preshared-key", secret(right))
            until(lambda: pinger.ping(seconds=1), "the next attempt opens it", PATIENCE)

    def test_a_new_one_leaves_the_session_and_makes_the_next(self) -> None:
        self.connect(begins="kernel", preshared_key=make_preshared_key())
        connection, sessions = self.connection(), self.sessions()
        new = secret(make_preshared_key())
        self.kernel.set("peer", self.sluice.keys.public, "preshared-key", new)
        self.sluice.set("peer", self.kernel.keys.public, "preshared-key", new)
        connection.carry(SOME)
        self.assertEqual(self.sessions(), sessions)
        ip(self.wire.kernel, f"link set {self.kernel.interface} down", f"link set {self.kernel.interface} up")
        connection.carry(SOME)
        self.assertGreater(self.sessions(), sessions)


class Replaced(SessionTest):
    outer = 4

    def test_a_connection_outlives_the_kernels_sessions(self) -> None:
        self.connect(begins="sluice")
        connection = self.connection()
        connection.carry(SOME)
        sessions = self.sessions()
        # With the interface go its sessions; the next packet of the kernel's makes a new one.
        ip(self.wire.kernel, f"link set {self.kernel.interface} down", f"link set {self.kernel.interface} up")
        connection.carry(SOME)
        self.assertGreater(self.sessions(), sessions)

    def test_a_connection_outlives_a_peer_that_was_removed_from_sluice(self) -> None:
        self.connect(begins="kernel")
        connection = self.connection()
        self.sluice.remove_peer(self.kernel.keys.public)
        self.sluice.set_peer(self.kernel_as_peer(known=True))
        self.ping_from("sluice")
        connection.carry(SOME)

    def test_a_connection_outlives_a_peer_that_was_removed_from_the_kernel(self) -> None:
        self.connect(begins="sluice")
        connection = self.connection()
        self.kernel.remove_peer(self.sluice.keys.public)
        self.kernel.set_peer(self.sluice_as_peer(known=True))
        connection.carry(SOME)

    def test_a_connection_outlives_a_new_key_of_the_kernels(self) -> None:
        self.connect(begins="sluice")
        connection, old = self.connection(), self.kernel.keys
        self.kernel.keys = KeyPair.make()
        self.kernel.set("private-key", secret(self.kernel.keys.private))
        self.sluice.remove_peer(old.public)
        self.sluice.set_peer(self.kernel_as_peer(known=True))
        self.ping_from("sluice")
        connection.carry(SOME)

    def test_a_connection_outlives_a_new_key_of_sluices(self) -> None:
        self.connect(begins="kernel")
        connection, old = self.connection(), self.sluice.keys
        self.sluice.keys = KeyPair.make()
        self.sluice.set("private-key", secret(self.sluice.keys.private))
        self.kernel.remove_peer(old.public)
        self.kernel.set_peer(self.sluice_as_peer(known=True))
        connection.carry(SOME)

    def test_crossing_handshakes_make_a_tunnel_at_once(self) -> None:
        """Both know where the other is, and both begin."""
        self.kernel.make(self.sluice_as_peer(known=True))
        self.sluice.start(self.kernel_as_peer(known=True))
        # Our initiation overwrites the kernel's, which then cannot use our response to it; it uses its own.
        self.running, self.expected = True, ("Invalid handshake response",)
        with Pinger(self.wire.sluice, KERNEL_INNER[4]) as one, Pinger(self.wire.kernel, SLUICE_INNER[4]) as other:
            # Neither waits for the other; whose initiation comes first is left to chance.
            one.send(56)
            other.send(56)
            self.assertTrue(one.answered(PATIENCE) and other.answered(PATIENCE))
        self.ping_both_ways()


@over_both_families
class Lost(SessionTest):
    def test_an_interface_that_the_kernel_made_anew_begins_again(self) -> None:
        self.connect(begins="kernel")
        connection = self.connection()
        self.kernel.remove()
        self.kernel.make(self.sluice_as_peer(known=True))
        self.ping_from("kernel")
        connection.carry(SOME)
        self.ping_both_ways()

    def test_a_sluice_that_was_killed_begins_again(self) -> None:
        self.connect(begins="sluice")
        connection = self.connection()
        self.sluice.kill()
        self.sluice.start(self.kernel_as_peer(known=True))
        self.ping_from("sluice")
        connection.carry(SOME)
        self.ping_both_ways()


class Noticed(SessionTest):
    """A loss that nobody tells of costs 15 s."""

    def test_sluice_notices_that_the_kernel_has_lost_the_session(self) -> None:
        self.connect(begins="sluice")
        self.kernel.remove()
        self.kernel.make(self.sluice_as_peer(known=False))
        with Pinger(self.wire.sluice, KERNEL_INNER[4]) as pinger:
            until(lambda: pinger.ping(seconds=1), "Sluice begins anew", PATIENCE)

    @takes_minutes
    def test_the_kernel_notices_that_sluice_has_lost_the_session(self) -> None:
        self.connect(begins="kernel")
        self.expected = ("stopped hearing back", "did not complete")
        self.sluice.kill()
        self.sluice.start(self.kernel_as_peer(known=False))
        with Pinger(self.wire.kernel, SLUICE_INNER[4]) as pinger:
            until(lambda: pinger.ping(seconds=1), "the kernel begins anew", PATIENCE)


class Keepalive(SessionTest):
    outer = 6

    def test_sluices_persistent_keepalives_make_and_hold_the_tunnel(self) -> None:
        self.kernel.make(self.sluice_as_peer(known=False))
        self.sluice.start(self.kernel_as_peer(known=True, persistent_keepalive=1))
        self.running = True
        self.await_keepalives("sluice", 3)
        received = self.kernel.show().received
        until(lambda: self.kernel.show().received >= received + KEEPALIVE, "the kernel takes one more", PATIENCE)

    def test_the_kernels_persistent_keepalives_make_and_hold_the_tunnel(self) -> None:
        self.sluice.start(self.kernel_as_peer(known=False))
        self.running = True
        self.kernel.make(self.sluice_as_peer(known=True, persistent_keepalive=1))
        self.await_keepalives("kernel", 3)
        received = self.sluice.show().received
        until(lambda: self.sluice.show().received >= received + KEEPALIVE, "Sluice takes one more", PATIENCE)

    def await_keepalives(self, sender: str, count: int) -> None:
        """So many of one end, while nobody has anything to say: one session, and no other data."""
        until(lambda: len(self.ear.heard(sender, DATA)) >= count, f"{count} data messages of {sender}", PATIENCE)
        self.assertEqual({len(outer.payload) for outer in self.ear.heard(sender, DATA)}, {KEEPALIVE})
        self.assertEqual(len(self.ear.heard(kind=INITIATION)), 1)
        self.assertEqual(len(self.ear.heard(kind=RESPONSE)), 1)


class Answered(SessionTest):
    def test_sluice_tells_that_it_hears_when_it_has_nothing_to_say(self) -> None:
        """10 s after data; whoever sent last need not."""
        self.connect(begins="sluice")
        for source, target, address in ((self.wire.sluice, self.wire.kernel, KERNEL_INNER[4]),
                                        (self.wire.kernel, self.wire.sluice, SLUICE_INNER[4])):
            with Datagrams(source, target, address) as way:
                way.send(b"no answer to this")
        until(lambda: any(len(outer.payload) == KEEPALIVE for outer in self.ear.heard("sluice", DATA)),
              "Sluice's keepalive", PATIENCE)
        self.assertEqual(len(self.ear.heard(kind=INITIATION)), 1)


class Aged(SessionTest):
    @takes_minutes
    def test_a_session_of_sluices_is_replaced_in_time_and_no_packet_is_lost(self) -> None:
        self.age("sluice")

    @takes_minutes
    def test_a_session_of_the_kernels_is_replaced_in_time_and_no_packet_is_lost(self) -> None:
        self.age("kernel")

    def age(self, begins: str) -> None:
        """Packets both ways until the session is replaced, which whoever began it does after 120 s."""
        self.connect(begins=begins)
        began = time.monotonic()
        with Pinger(self.wire.sluice, KERNEL_INNER[4]) as one, Pinger(self.wire.kernel, SLUICE_INNER[4]) as other:
            while len(self.ear.heard(kind=RESPONSE)) == 1:
                self.assertTrue(one.ping() and other.ping())
                self.assertLess(time.monotonic() - began, 180)
                time.sleep(0.1)  # the pace of the packets, not a wait
            self.assertTrue(one.ping() and other.ping())
        self.assertGreaterEqual(time.monotonic() - began, 119)
        self.assertEqual(len(self.ear.heard(begins, INITIATION)), 2)
