"""The node and every other WireGuard implementation that this machine has: who begins, over which family,
with which keys; what they carry; and what they do when one of the two is new or somewhere else."""

import sys
from typing import ClassVar

from harness.case import TUNNEL, SystemTest, client_as_peer
from harness.implementations import IMPLEMENTATIONS, Implementation
from harness.network import Namespace, Topology, authority
from harness.node import Node
from harness.payload import Payload
from harness.waiting import until
from harness.wireguard import WireguardClient, make_preshared_key

CLIENT_PORT = 51820
# The smallest echo request, odd ones, one before and one of exactly the MTU of 1420 (IPv4 adds 28, IPv6 48).
PING_SIZES = {Topology.NODE_INNER: (0, 1, 15, 16, 17, 1200, 1391, 1392),
              Topology.NODE_INNER6: (0, 1, 15, 16, 17, 1200, 1371, 1372)}
BULK_BYTES = 16 << 20


class InteropTest(SystemTest):
    implementation: ClassVar[Implementation]
    missing: ClassVar[str | None] = None

    @classmethod
    def setUpClass(cls) -> None:
        cls.missing = cls.implementation.missing()
        if cls.missing is None:
            super().setUpClass()

    def setUp(self) -> None:
        if self.missing is not None:
            self.skipTest(self.missing)  # here, so that each test is named and counted
        super().setUp()
        self.client = self.make_client(listen_port=CLIENT_PORT, implementation=self.implementation)
        self.node_keys()

    def start_node(self, *, family: int = 4, **peer) -> Node:
        """It knows where the client is."""
        address = Topology.CLIENT if family == 4 else Topology.CLIENT6
        client = client_as_peer(self.client, endpoint=authority(address, CLIENT_PORT), **peer)
        self.node = self.make_node(self.make_configuration(client))
        return self.node.start()

    def node_at(self, family: int, **options):
        """What the client is told when it is to begin."""
        address = Topology.NODE if family == 4 else Topology.NODE6
        return self.node_as_peer(endpoint=authority(address, Topology.WIREGUARD_PORT), **options)

    def ping(self, source: Namespace, address: str, size: int = 56) -> None:
        # -M do: a packet that does not fit fails instead of being cut. -w: one answer is enough, because some
        # implementations lose a packet while they are being set up or changed.
        source.run("ping", "-q", "-c", "1", "-w", "20", "-i", "0.2", "-M", "do", "-s", str(size), address)

    def ping_sizes(self) -> None:
        for address, sizes in PING_SIZES.items():
            for size in sizes:
                self.ping(self.topology.client, address, size)

    def endpoint_at_node(self) -> str:
        status, answer = self.node.ask("/v1/peers")
        self.assertEqual(status, 200, answer)
        (peer,) = answer["peers"]
        return peer["endpoint"]

    def explain(self) -> str:
        if self.missing is not None:
            return ""
        return f"the node's last words:\n{self.node.tail()}\n{self.implementation.name}'s:\n{self.client.tail()}"


class Interop(InteropTest):
    """Made into a class for each implementation below."""

    def check_handshakes(self, family: int, preshared: bool) -> None:
        psk = make_preshared_key() if preshared else None
        options = {}
        if psk is not None:
            file = self.directory / "interop.psk"
            file.touch(mode=0o600)
            file.write_text(psk + "\n")
            options["preshared_key_file"] = file

        # The node begins; most clients need not know where it is.
        known = {} if self.implementation.learns_endpoints else {"endpoint": self.node_at(family).endpoint}
        self.client.up(self.node_as_peer(preshared_key=psk, **({"endpoint": None} | known)))
        self.start_node(family=family, **options)
        self.ping(self.topology.node, Topology.CLIENT_INNER)
        self.ping(self.topology.node, Topology.CLIENT_INNER6)
        self.ping_sizes()

        # The client is new, and begins.
        self.client.down()
        self.client.up(self.node_at(family, preshared_key=psk))
        self.ping(self.topology.client, Topology.NODE_INNER6)
        self.ping_sizes()
        self.ping(self.topology.node, Topology.CLIENT_INNER)

        # The node is new, and begins; the client still has its session with the one before.
        self.node.kill()
        self.node.start()
        self.ping(self.topology.node, Topology.CLIENT_INNER)
        self.ping_sizes()
        host = Topology.CLIENT if family == 4 else Topology.CLIENT6
        self.assertEqual(self.endpoint_at_node(), authority(host, CLIENT_PORT))
        self.node.stop()

    def test_handshakes_over_ipv4(self) -> None:
        self.check_handshakes(4, preshared=False)

    def test_handshakes_over_ipv4_with_a_preshared_key(self) -> None:
        self.check_handshakes(4, preshared=True)

    def test_handshakes_over_ipv6(self) -> None:
        self.check_handshakes(6, preshared=False)

    def test_handshakes_over_ipv6_with_a_preshared_key(self) -> None:
        self.check_handshakes(6, preshared=True)

    def test_bulk_in_both_directions_and_families(self) -> None:
        self.start_node()
        self.client.up(self.node_at(4))
        for seed, (inner, outer) in enumerate(((Topology.NODE_INNER, 4), (Topology.NODE_INNER6, 4),
                                               (Topology.NODE_INNER6, 6), (Topology.NODE_INNER, 6))):
            with self.subTest(inner=inner, outer=outer):
                self.client.set_peer(self.node_at(outer))
                payload = Payload(seed=seed, size=BULK_BYTES)
                site = self.site(self.topology.client, inner)
                download = site.download(TUNNEL, f"/stream?size={payload.size}&seed={seed}")
                self.assertEqual(download.finish(), payload.sha256())
                seen = site.upload(TUNNEL, "/sink", payload.chunks(), size=payload.size)
                self.assertEqual(seen["sha256"], payload.sha256())
        self.node.stop()

    def test_a_download_survives_roaming(self) -> None:
        """To IPv6 and back; the node hears of it only by what the client sends."""
        self.start_node()
        self.client.up(self.node_at(4))
        payload = Payload(seed=9, size=24 << 20)
        body = self.backend.paced(payload)
        download = self.site(self.topology.client, Topology.NODE_INNER).download(TUNNEL, body.path)
        for family, place in ((4, Topology.CLIENT), (6, Topology.CLIENT6), (4, Topology.CLIENT)):
            until(lambda: self.moves(family, place), f"the client is at {place}", 40)
            body.let_go(8)
            download.read(7 << 20)  # the rest may lie in buffers
        self.assertEqual(download.finish(), payload.sha256())
        self.node.stop()

    def moves(self, family: int, place: str) -> bool:
        """What was under way from the node's old address takes the client back there; then it has to go again."""
        self.client.set_peer(self.node_at(family))
        self.ping(self.topology.client, Topology.NODE_INNER)  # anything that the client sends
        return self.endpoint_at_node() == authority(place, CLIENT_PORT)


for _implementation in IMPLEMENTATIONS:
    _made = type(f"Interop{_implementation.label}", (Interop,),
                 {"implementation": _implementation, "__module__": __name__})
    setattr(sys.modules[__name__], _made.__name__, _made)
del Interop, _made  # without an implementation it is no test, and none is to be found twice
