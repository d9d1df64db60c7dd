"""Peers are spread over workers; each one's packets find their way to its worker, both ways."""

import concurrent.futures
from typing import Any

from harness.case import TUNNEL, SystemTest, on_both_engines
from harness.network import Topology
from harness.node import Node
from harness.payload import Payload
from harness.wireguard import Peer, WireguardClient

PEERS = 4
BODY = 8 << 20


@on_both_engines
class Workers(SystemTest):
    def start(self, workers: int) -> Node:
        """Each peer has a network of its own with the node, so that all can live in one namespace."""
        self.clients = [self.make_client(addresses=[f"10.98.{i}.2/24", f"fd98:{i}::2/64"])
                        for i in range(1, PEERS + 1)]
        self.node_keys()
        document = self.make_configuration(*(self.as_peer(i) for i in range(1, PEERS + 1)))
        document["node"]["workers"] = workers
        document["wireguard"]["addresses"] = [
            address for i in range(1, PEERS + 2) for address in (f"10.98.{i}.1/24", f"fd98:{i}::1/64")]
        node = self.make_node(document)
        node.start()
        for i, client in enumerate(self.clients, 1):
            client.up(Peer(self.node_keys().public, [f"10.98.{i}.1/32", f"fd98:{i}::1/128"],
                           endpoint=f"{Topology.NODE}:{Topology.WIREGUARD_PORT}"))
        return node

    def as_peer(self, i: int) -> dict[str, Any]:
        return {"name": f"peer-{i}", "public_key": self.clients[i - 1].keys.public,
                "allowed_ips": [f"10.98.{i}.2/32", f"fd98:{i}::2/128"]}

    def transfer(self, i: int, family: str) -> None:
        site = self.site(self.topology.client, f"10.98.{i}.1" if family == "v4" else f"fd98:{i}::1")
        down, up = Payload(seed=i, size=BODY), Payload(seed=100 + i, size=BODY)
        self.assertEqual(site.download(TUNNEL, f"/stream?size={BODY}&seed={i}").finish(), down.sha256())
        self.assertEqual(site.upload(TUNNEL, "/sink", up.chunks(), size=BODY)["sha256"], up.sha256())

    def workers_of(self, node: Node) -> list[dict[str, Any]]:
        code, answer = node.ask("/v1/workers")
        self.assertEqual(code, 200)
        return answer["workers"]

    def test_1_worker(self) -> None:
        self.check(1)

    def test_2_workers(self) -> None:
        self.check(2)

    def test_4_workers(self) -> None:
        self.check(4)

    def check(self, count: int) -> None:
        node = self.start(count)
        with concurrent.futures.ThreadPoolExecutor(PEERS) as pool:
            for family in ("v4", "v6"):
                list(pool.map(lambda i: self.transfer(i, family), range(1, PEERS + 1)))
        workers = self.workers_of(node)
        self.assertEqual(len(workers), count)
        # Each worker has its share of the peers, and did the work of no other.
        self.assertEqual([worker["wireguard_handshakes"] for worker in workers], [PEERS // count] * count)
        handed_over = sum(worker["packets_handed_over"] for worker in workers)
        received = sum(worker["datagrams_received"] for worker in workers)
        if count == 1:
            self.assertEqual(handed_over, 0)
        # Initiations and the first packets of a flow, of some 50,000: the kernel knows the way for the rest.
        self.assertLess(handed_over, received / 20, workers)
        self.assertNotIn("handover_stale", node.status()["drops"])

        # One more peer and one less: what the others have goes on.
        self.clients.append(self.make_client(addresses=[f"10.98.{PEERS + 1}.2/24"]))
        node.document["wireguard"]["peers"] = [self.as_peer(i) for i in range(2, PEERS + 2)]
        node.write()
        self.assertEqual(node.reload().returncode, 0)
        for i in range(2, PEERS + 1):
            self.transfer(i, "v4")
        self.assertEqual([client.handshake_time() > 0 for client in self.clients[:PEERS]], [True] * PEERS)
        self.assertEqual(sum(worker["wireguard_handshakes"] for worker in self.workers_of(node)), PEERS)
        node.stop()
