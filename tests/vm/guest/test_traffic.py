"""Whoever begins, over either family outside: packets of every size and bulk data arrive as they were sent."""

import os

from harness import cleanup
from harness.payload import Payload
from harness.waiting import until

from case import TunnelTest, over_both_families
from ends import MTU, PATIENCE, PlainSluiceEnd
from traffic import HEADERS, Connection, Pinger
from wire import INITIATION, KERNEL_INNER, LINK, LINK_MTU, RESPONSE, SLUICE_INNER, ip

# A guest without hardware carries a few MiB a second.
BULK = int(os.environ.get("SLUICE_VM_BULK_BYTES", 2 << 20))
# Around WireGuard's padding and an interface's MTU; what is larger comes in fragments.
SIZES = (0, 1, 3, 4, 5, 56, 576, 1300)
FRAGMENTED = 5000


class Traffic(TunnelTest):
    begins: str

    def other(self) -> str:
        return "kernel" if self.begins == "sluice" else "sluice"

    def check_all(self) -> None:
        self.start(begins=self.begins)
        self.check_handshake()
        for inner in (4, 6):
            self.check_sizes(inner)
            self.check_bulk(inner)
        self.assertGreater(self.sluice.show().handshake, 0)
        self.assertGreater(self.kernel.show().handshake, 0)

    def check_handshake(self) -> None:
        self.ping_from(self.begins)
        self.assertEqual(len(self.ear.heard(self.begins, INITIATION)), 1)
        self.assertEqual(len(self.ear.heard(self.other(), RESPONSE)), 1)
        self.assertEqual(self.ear.heard(self.other(), INITIATION), [])

    def check_sizes(self, inner: int) -> None:
        fits = MTU - HEADERS[inner]
        for end in ("sluice", "kernel"):
            self.ping_from(end, *SIZES, FRAGMENTED, inner=inner)
            namespace, address = ((self.wire.sluice, KERNEL_INNER[inner]) if end == "sluice"
                                  else (self.wire.kernel, SLUICE_INNER[inner]))
            with Pinger(namespace, address) as pinger:
                pinger.never_fragment()
                for size in (fits - 17, fits - 1, fits):
                    self.assertTrue(pinger.ping(size), f"{size} bytes in one packet over IPv{inner}")

    def check_bulk(self, inner: int) -> None:
        for source, target, address in self.ways(inner):
            with Connection(source, target, address) as connection:
                connection.carry(Payload(seed=inner, size=BULK))


@over_both_families
class SluiceBegins(Traffic):
    begins = "sluice"

    def test_every_size_and_bulk_data_of_both_families_in_both_directions(self) -> None:
        self.check_all()


@over_both_families
class KernelBegins(Traffic):
    begins = "kernel"

    def test_every_size_and_bulk_data_of_both_families_in_both_directions(self) -> None:
        self.check_all()


class Plain(Traffic):
    """The interface alone, as `sluice wireguard` makes it."""

    def make_sluice(self) -> PlainSluiceEnd:
        return PlainSluiceEnd()

    def check_handshake(self) -> None:
        # It hears from the kernel that its interface is up, and nobody hears when it has: until then packets are lost.
        namespace, _, address = self.ways(4)[0 if self.begins == "sluice" else 1]
        self.expected = ("did not complete",)
        with Pinger(namespace, address) as pinger:
            until(lambda: pinger.ping(seconds=1), "the tunnel opens", PATIENCE)
        self.assertEqual(self.ear.heard(self.other(), INITIATION), [])


class PlainSluiceBegins(Plain):
    begins, outer = "sluice", 6

    def test_every_size_and_bulk_data_of_both_families_in_both_directions(self) -> None:
        self.check_all()


class PlainKernelBegins(Plain):
    begins, outer = "kernel", 4

    def test_every_size_and_bulk_data_of_both_families_in_both_directions(self) -> None:
        self.check_all()


@over_both_families
class NarrowPath(TunnelTest):
    """The cable is narrower than the tunnel thinks, so that full packets outside come in fragments."""

    def test_full_packets_arrive_in_fragments(self) -> None:
        for namespace in (self.wire.sluice, self.wire.kernel):
            ip(namespace, f"link set {LINK} mtu 1400")
            cleanup.later(lambda namespace=namespace: ip(namespace, f"link set {LINK} mtu {LINK_MTU}"))
        self.connect(begins="sluice")
        for inner in (4, 6):
            fits = MTU - HEADERS[inner]
            self.ping_from("sluice", 56, fits, inner=inner)
            self.ping_from("kernel", 56, fits, inner=inner)
            for source, target, address in self.ways(inner):
                with Connection(source, target, address) as connection:
                    connection.carry(Payload(seed=inner, size=BULK // 8))


del Traffic, Plain
