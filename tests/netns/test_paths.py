"""The way between the node and its peers: routers that lend addresses, links that are wide or become narrow, ends
with several addresses, and datagrams that arrive in pieces."""

import subprocess

from harness.case import TUNNEL, SystemTest, client_as_peer, on_both_engines
from harness.network import HomeNetwork, Topology, add_address, authority
from harness.payload import Payload
from harness.waiting import until
from harness.wireguard import WireguardClient


class PathTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.node_keys()

    def start(self, client: WireguardClient, *, mtu: int = 1420, node_address: str = Topology.NODE, **options) -> None:
        self.client = client
        document = self.make_configuration(client_as_peer(client))
        document["wireguard"]["mtu"] = mtu
        self.node = self.make_node(document)
        self.node.start()
        endpoint = authority(node_address, Topology.WIREGUARD_PORT)
        client.up(self.node_as_peer(endpoint=endpoint, **options))
        self.inside = self.site(client.namespace, Topology.NODE_INNER)

    def endpoint_at_node(self) -> str:
        (peer,) = self.node.ask("/v1/peers")[1]["peers"]
        return peer["endpoint"] or ""

    def assert_carries(self, mebibytes: int = 8) -> None:
        payload = Payload(seed=3, size=mebibytes << 20)
        download = self.inside.download(TUNNEL, f"/stream?size={payload.size}&seed=3")
        self.assertEqual(download.finish(), payload.sha256())
        self.assertEqual(self.inside.upload(TUNNEL, "/sink", payload.chunks(), size=payload.size)["sha256"],
                         payload.sha256())

    def ping_client(self, size: int = 56) -> None:
        """-M do: a packet that does not fit into the tunnel fails instead of being cut."""
        for address in (Topology.CLIENT_INNER, Topology.CLIENT_INNER6):
            self.topology.node.run("ping", "-q", "-c", "1", "-w", "20", "-i", "0.2", "-M", "do",
                                   "-s", str(size - 20 * (":" in address)), address)

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}\ndrops: {self.node.status()['drops']}"


class Nat(PathTest):
    def test_the_node_reaches_a_client_behind_a_router_that_lends_it_another_port(self) -> None:
        network = HomeNetwork(self.topology)
        network.lend_ports(40000, 40099)
        self.start(WireguardClient(network.home, self.directory), persistent_keepalive=1)
        for first in (40000, 41000, 42000):
            if first != 40000:
                network.lend_ports(first, first + 99)

            def lent() -> bool:
                address, _, port = self.endpoint_at_node().rpartition(":")
                return address == network.ROUTER and first <= int(port) < first + 100

            # Keepalives alone, the client sends nothing else.
            until(lent, f"the node hears the client from a port from {first} on", 20)
            self.ping_client()
            self.assert_carries(2)
        self.node.stop()

    def test_keepalives_hold_what_a_forgetful_router_lends(self) -> None:
        network = HomeNetwork(self.topology)
        network.lend_ports(40000, 40099)
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            network.router.set_kernel(f"netfilter/{name}", 4)
        self.start(WireguardClient(network.home, self.directory), persistent_keepalive=1)
        until(self.endpoint_at_node, "the client's first keepalive makes a session")
        endpoint, before = self.endpoint_at_node(), self.received_at_node()
        # Seven keepalives are longer than the router remembers; the node says nothing meanwhile.
        until(lambda: self.received_at_node() >= before + 7 * 32, "seven keepalives", 30)
        self.assertEqual(self.endpoint_at_node(), endpoint)
        self.ping_client()
        self.node.stop()

    def received_at_node(self) -> int:
        (peer,) = self.node.ask("/v1/peers")[1]["peers"]
        return peer["received_bytes"]


@on_both_engines
class PathMtu(PathTest):
    def set_outer_mtu(self, mtu: int) -> None:
        self.topology.set_mtu(mtu, "node", "client")

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.set_outer_mtu, 1500)

    def test_a_path_of_9000_bytes_is_used_and_may_become_narrow(self) -> None:
        self.set_outer_mtu(9000)
        self.start(self.make_client(mtu=8920), mtu=8920)
        self.assert_carries()
        for size in (0, 1392, 1393, 4000, 8875, 8891, 8892):
            self.ping_client(max(size, 20))
        # Packets of the same size now go in pieces, in the middle of a transfer.
        payload = Payload(seed=5, size=12 << 20)
        body = self.backend.paced(payload)
        download = self.inside.download(TUNNEL, body.path)
        body.let_go(6)
        download.read(5 << 20)
        self.set_outer_mtu(1500)
        body.let_go(6)
        self.assertEqual(download.finish(), payload.sha256())
        self.ping_client(8892)
        self.node.stop()

    def test_a_path_narrower_than_the_tunnel_carries_it_in_pieces(self) -> None:
        """As WireGuard in the kernel does it: nobody would tell the inner sender, so nothing says "do not fragment"."""
        for node_address in (Topology.NODE, Topology.NODE6):
            with self.subTest(node_address=node_address):
                self.start(self.make_client(), node_address=node_address)
                self.assert_carries()
                self.set_outer_mtu(1300)
                self.ping_client(1392)
                self.assert_carries()
                self.set_outer_mtu(1500)
                self.assert_carries()
                self.node.stop()
                self.client.down()

    def test_a_router_on_the_way_has_a_narrower_link(self) -> None:
        network = HomeNetwork(self.topology)
        network.lend_ports(40000, 40099)
        self.start(WireguardClient(network.home, self.directory), persistent_keepalive=1)
        self.assert_carries(2)
        network.router.ip("link", "set", "home0", "mtu", "1200")
        network.home.ip("link", "set", "lan0", "mtu", "1200")
        self.ping_client(1392)
        self.assert_carries(2)
        self.node.stop()


@on_both_engines
class SeveralAddresses(PathTest):
    def test_the_node_answers_from_the_address_that_it_was_asked_at(self) -> None:
        second, second6 = "192.168.77.22", "fd77::22"
        add_address(self.topology.node, "lan0", f"{second}/24")
        add_address(self.topology.node, "lan0", f"{second6}/64")
        self.start(self.make_client())
        for address in (second, second6, Topology.NODE, Topology.NODE6, second):
            with self.subTest(address=address):
                asked = authority(address, Topology.WIREGUARD_PORT)

                def stays() -> bool:
                    # What was under way from the address before takes the client back to that; then it asks again.
                    self.client.set_peer(self.node_as_peer(endpoint=asked))
                    for _ in range(3):
                        self.client.namespace.run("ping", "-q", "-c", "1", "-w", "20", "-i", "0.2", Topology.NODE_INNER)
                    return self.client.endpoint() == asked

                until(stays, f"the client goes on talking with {asked}", 20)
                self.assert_carries(1)
                self.assertEqual(self.client.endpoint(), asked)
        self.node.stop()


@on_both_engines
class Counters(PathTest):
    def test_both_ends_count_the_same_bytes(self) -> None:
        self.start(self.make_client())
        # One at a time: a burst might be more than the client's socket holds, and what it lost it has not counted.
        for size in (0, 1, 2, 15, 16, 500, 1392):
            self.client.namespace.run("ping", "-q", "-c", "1", "-w", "20", "-s", str(size), Topology.NODE_INNER)
            self.ping_client(max(size, 20))
        self.inside.fetch(TUNNEL, "/echo")

        def same() -> bool:
            """Whatever is still under way arrives; then they agree to the byte."""
            (theirs,) = self.client.wg("show", self.client.interface, "transfer").splitlines()
            (ours,) = self.topology.node.run("wg", "show", self.node.interface, "transfer").splitlines()
            (peer,) = self.node.ask("/v1/peers")[1]["peers"]
            _, received, sent = theirs.split("\t")
            self.compared = f"the client received {received} and sent {sent}, the node {ours.split()[1:]}"
            return (ours.split("\t")[1:] == [sent, received]
                    and (peer["received_bytes"], peer["sent_bytes"]) == (int(sent), int(received)))

        self.compared = ""
        try:
            until(same, "both ends count the same", 15)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.compared}") from None
        self.node.stop()


@on_both_engines
class RoutingLoop(PathTest):
    """A peer's endpoint whose route is the tunnel itself: nothing goes round in circles."""

    def test_over_ipv4(self) -> None:
        self.check(Topology.CLIENT_INNER)

    def test_over_ipv6(self) -> None:
        self.check(Topology.CLIENT_INNER6)

    def check(self, inner: str) -> None:
        client = self.make_client()
        self.start(client, persistent_keepalive=1)
        until(self.endpoint_at_node, "the client's first keepalive makes a session")
        self.ping_client()
        client.down()
        self.topology.node.run("wg", "set", self.node.interface, "peer", client.keys.public,
                               "endpoint", authority(inner, 51820))
        # Large ones would be cut in two on each round and become more and more.
        for size in (56, 1300):
            with self.topology.node.popen(["ping", "-q", "-c", "5", "-i", "0.2", "-W", "1", "-s", str(size), inner],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ping:
                ping.wait(30)
        until(lambda: self.node.status()["drops"].get("routing_loop", 0) >= 10, "ten loops cut")
        (peer,) = self.node.ask("/v1/peers")[1]["peers"]
        # Ten pings and what a session needs; each round of a loop would double that.
        self.assertLess(peer["sent_bytes"], 50_000, peer)
        self.node.stop()
