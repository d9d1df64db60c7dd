"""What an observer on the cable sees of Sluice is what it would see of the kernel; and both count the same."""

from case import TunnelTest, over_both_families
from ends import MTU, PATIENCE
from harness.waiting import until
from traffic import HEADERS, Datagrams
from wire import DATA, KERNEL_INNER, SLUICE_INNER

# Every ECN codepoint alone, and beside a DSCP.
CODEPOINTS = (0x00, 0x01, 0x02, 0x03, 0xB8, 0xB9, 0xBA, 0xBB)
ECN, CONGESTED, CAPABLE = 3, 3, 2
# Where padding begins, ends, and meets the MTU. Of an inner packet's whole length.
LENGTHS = (64, 65, 79, 80, 81, 1000, 1404, 1405, 1408, 1409, 1419, 1420)


@over_both_families
class OnTheWire(TunnelTest):
    def ways(self, inner: int):
        yield "sluice", Datagrams(self.wire.sluice, self.wire.kernel, KERNEL_INNER[inner])
        yield "kernel", Datagrams(self.wire.kernel, self.wire.sluice, SLUICE_INNER[inner])

    def last_data(self, sender: str):
        """The newest data message that is no keepalive."""
        return [outer for outer in self.ear.heard(sender, DATA) if len(outer.payload) > 32][-1]

    def test_dscp_and_ecn_outside_are_as_the_kernels(self) -> None:
        self.connect(begins="sluice")
        for inner in (4, 6):
            outside = {}
            for sender, way in self.ways(inner):
                with way:
                    for tos in CODEPOINTS:
                        self.assertEqual(way.send(b"x" * (100 + tos), tos), tos, f"{sender} changed it inside")
                        outside[sender, tos] = self.last_data(sender).tos
            for tos in CODEPOINTS:
                if tos & ECN == CONGESTED:
                    # The one difference: RFC 6040 copies a congestion mark, Linux begins anew behind it.
                    self.assertEqual((outside["sluice", tos], outside["kernel", tos]), (CONGESTED, CAPABLE))
                else:
                    self.assertEqual(outside["sluice", tos], outside["kernel", tos], f"{tos:#04x} over IPv{inner}")

    def test_handshakes_and_keepalives_are_marked_as_the_kernels(self) -> None:
        self.connect(begins="sluice")
        for end, other in ((self.kernel, self.sluice), (self.sluice, self.kernel)):
            end.set("peer", other.keys.public, "persistent-keepalive", "1")
        until(lambda: all(self.marks(sender).get("keepalive") for sender in ("sluice", "kernel")),
              "a keepalive of each end", PATIENCE)
        sluice, kernel = self.marks("sluice"), self.marks("kernel")
        self.assertEqual(sluice["keepalive"], kernel["keepalive"])
        self.assertEqual(sluice["handshake"], kernel["handshake"])

    def marks(self, sender: str) -> dict[str, set[tuple[int, bool]]]:
        """How its keepalives and handshake messages are marked: DSCP and ECN, and whether they may be cut."""
        seen: dict[str, set[tuple[int, bool]]] = {}
        for outer in self.ear.heard(sender):
            if outer.type != DATA or len(outer.payload) == 32:
                kind = "keepalive" if outer.type == DATA else "handshake"
                seen.setdefault(kind, set()).add((outer.tos, outer.dont_fragment))
        return seen

    def test_padding_is_the_kernels(self) -> None:
        self.connect(begins="kernel")
        for inner in (4, 6):
            lengths = {}
            for sender, way in self.ways(inner):
                with way:
                    for length in LENGTHS:
                        way.send(b"x" * (length - HEADERS[inner]))
                        lengths[sender, length] = len(self.last_data(sender).payload)
            for length in LENGTHS:
                self.assertEqual(lengths["sluice", length], lengths["kernel", length], f"of {length} over IPv{inner}")
            self.assertEqual(lengths["sluice", MTU], MTU + 32)

    def test_both_ends_count_every_byte(self) -> None:
        self.connect(begins="sluice")
        for inner in (4, 6):
            for sender, way in self.ways(inner):
                with way:
                    for length in LENGTHS:
                        way.send(b"x" * (length - HEADERS[inner]))
        self.ping_both_ways()

        def agree() -> bool:
            sluice, kernel = self.sluice.show(), self.kernel.show()
            on_the_wire = {sender: sum(len(outer.payload) for outer in self.ear.heard(sender))
                           for sender in ("sluice", "kernel")}
            self.counted = (sluice, kernel, on_the_wire)
            return (sluice.sent == kernel.received == on_the_wire["sluice"]
                    and kernel.sent == sluice.received == on_the_wire["kernel"])

        try:
            until(agree, "both ends count the same", PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.counted}") from None

    def test_a_packet_of_a_source_that_is_not_allowed_is_dropped_by_either_end(self) -> None:
        self.connect(begins="sluice")
        self.expected = ("unallowed src IP",)
        # Each end is told that fewer addresses are the other's than the other uses.
        self.kernel.set("peer", self.sluice.keys.public, "allowed-ips", "10.98.0.1/32")
        self.sluice.set("peer", self.kernel.keys.public, "allowed-ips", "fd98::2/128")
        stray = Datagrams(self.wire.sluice, self.wire.kernel, KERNEL_INNER[6])
        with stray:
            stray.send_only(b"from fd98::1")
        self.log.await_line("unallowed src IP", PATIENCE)
        stray = Datagrams(self.wire.kernel, self.wire.sluice, SLUICE_INNER[4])
        with stray:
            stray.send_only(b"from 10.98.0.2")
        until(lambda: self.sluice.drops().get("inner_source_not_allowed"), "Sluice counts it", PATIENCE)
