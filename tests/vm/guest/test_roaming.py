"""Ends that move: each follows the other, to wherever an authentic packet came from, and to no other place."""

import socket

from harness import cleanup
from harness.network import Namespace, authority, family_of
from harness.payload import Payload
from harness.waiting import until

from case import TunnelTest, over_both_families
from ends import KERNEL_PORT, PATIENCE, SLUICE_PORT
from traffic import Connection
from wire import DATA, INITIATION, KERNEL, LINK, SLUICE, SLUICE_INNER, ip

MOVED_KERNEL = {4: "192.168.77.51", 6: "fd77::51"}
MOVED_SLUICE = {4: "192.168.77.22", 6: "fd77::22"}
STRANGER = {4: "192.168.77.99", 6: "fd77::99"}
BITS = {4: 24, 6: 64}
SOME = Payload(seed=2, size=300_000)


@over_both_families
class Roaming(TunnelTest):
    def replace_address(self, namespace: Namespace, old: str, new: str) -> None:
        bits = BITS[self.outer]
        flags = "nodad" if self.outer == 6 else ""
        ip(namespace, f"address add {new}/{bits} dev {LINK} {flags}", f"address delete {old}/{bits} dev {LINK}")

    def move(self, namespace: Namespace, old: str, new: str) -> None:
        """Until the test ends."""
        self.replace_address(namespace, old, new)
        cleanup.later(lambda: self.replace_address(namespace, new, old))

    def connection(self) -> Connection:
        made = Connection(self.wire.kernel, self.wire.sluice, SLUICE_INNER[4])
        self.addCleanup(made.close)
        made.carry(SOME)
        return made

    def test_sluice_follows_the_kernel_to_another_address(self) -> None:
        self.connect(begins="sluice")
        connection = self.connection()
        self.move(self.wire.kernel, KERNEL[self.outer], MOVED_KERNEL[self.outer])
        connection.carry(SOME)
        self.assertEqual(self.sluice.show().endpoint, authority(MOVED_KERNEL[self.outer], KERNEL_PORT))
        self.ping_both_ways()
        self.assertEqual(len(self.ear.heard(kind=INITIATION)), 1, "the session is the same")

    def test_sluice_follows_the_kernel_to_another_port(self) -> None:
        self.connect(begins="sluice")
        connection = self.connection()
        self.kernel.set("listen-port", "51999")
        connection.carry(SOME)
        self.assertEqual(self.sluice.show().endpoint, authority(KERNEL[self.outer], 51999))
        self.ping_both_ways()
        self.assertEqual(len(self.ear.heard(kind=INITIATION)), 1, "the session is the same")

    def test_the_kernel_follows_sluice_to_another_address(self) -> None:
        self.connect(begins="kernel")
        connection = self.connection()
        self.move(self.wire.sluice, SLUICE[self.outer], MOVED_SLUICE[self.outer])
        # Something must come from Sluice for the kernel to learn of it.
        self.ping_from("sluice")
        self.assertEqual(self.kernel.show().endpoint, authority(MOVED_SLUICE[self.outer], SLUICE_PORT))
        connection.carry(SOME)
        self.ping_both_ways()

    def test_the_kernel_follows_sluice_to_another_port(self) -> None:
        self.connect(begins="kernel")
        connection = self.connection()
        self.sluice.set("listen-port", "41999")
        self.ping_from("sluice")
        self.assertEqual(self.kernel.show().endpoint, authority(SLUICE[self.outer], 41999))
        connection.carry(SOME)
        self.ping_both_ways()

    def test_either_follows_the_other_to_the_other_family_and_back(self) -> None:
        self.connect(begins="kernel")
        connection = self.connection()
        for family in (10 - self.outer, self.outer):
            self.kernel.set("peer", self.sluice.keys.public, "endpoint", authority(SLUICE[family], SLUICE_PORT))
            connection.carry(SOME)
            self.assertEqual(self.sluice.show().endpoint, authority(KERNEL[family], KERNEL_PORT))
        for family in (10 - self.outer, self.outer):
            self.sluice.set("peer", self.kernel.keys.public, "endpoint", authority(KERNEL[family], KERNEL_PORT))
            self.ping_from("sluice")
            self.assertEqual(self.kernel.show().endpoint, authority(SLUICE[family], SLUICE_PORT))
            connection.carry(SOME)

    def test_messages_that_a_stranger_repeats_move_neither_end(self) -> None:
        self.connect(begins="kernel")
        self.ping_both_ways()
        self.expected = ("invalid nonce", "Invalid handshake")
        before = self.sluice.show().endpoint, self.kernel.show().endpoint
        initiation, data = self.ear.heard("kernel", INITIATION)[0], self.ear.heard("kernel", DATA)[-1]
        self.repeat(self.wire.kernel, SLUICE[self.outer], SLUICE_PORT, initiation.payload, data.payload)
        until(lambda: {"data_replayed", "handshake_replayed"} <= self.sluice.drops().keys(), "Sluice refuses them",
              PATIENCE)
        data = self.ear.heard("sluice", DATA)[-1]
        self.repeat(self.wire.sluice, KERNEL[self.outer], KERNEL_PORT, data.payload)
        self.log.await_line("invalid nonce", PATIENCE)
        self.assertEqual((self.sluice.show().endpoint, self.kernel.show().endpoint), before)
        self.ping_both_ways()

    def repeat(self, namespace: Namespace, address: str, port: int, *messages: bytes) -> None:
        stranger = STRANGER[self.outer]
        flags = "nodad preferred_lft 0" if self.outer == 6 else ""
        ip(namespace, f"address add {stranger}/{BITS[self.outer]} dev {LINK} {flags}")
        try:
            with namespace.make_socket(socket.SOCK_DGRAM, family_of(address)) as sender:
                sender.bind((stranger, 0))
                for message in messages:
                    sender.sendto(message, (address, port))
        finally:
            ip(namespace, f"address delete {stranger}/{BITS[self.outer]} dev {LINK}")
