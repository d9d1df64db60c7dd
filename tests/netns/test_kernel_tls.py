"""The switch of kernel TLS, with whatever kernel this is; tests/vm has one that is known to do it."""

from harness.case import PUBLIC, SystemTest, on_both_engines
from harness.network import Topology
from harness.node import Node
from harness.payload import Payload

LONG = Payload(seed=1, size=5_000_001)


@on_both_engines
class KernelTls(SystemTest):
    def start(self, ktls: str | None) -> Node:
        document = self.make_configuration()
        if ktls is not None:
            document["tls"] = {"ktls": ktls}
        node = self.make_node(document)
        node.start()
        return node

    def offload(self, node: Node) -> dict:
        return next(entry for entry in node.status()["offloads"] if entry["name"] == "ktls")

    def download(self) -> None:
        site = self.site(self.topology.neighbour, Topology.NODE)
        path = f"/stream?size={LONG.size}&seed={LONG.seed}"
        self.assertEqual(site.download(PUBLIC, path).finish(), LONG.sha256())

    def test_whatever_it_says_bodies_arrive_and_the_status_says_how(self) -> None:
        states = {}
        for ktls in (None, "auto", "on", "off"):
            node = self.start(ktls)
            self.download()
            offload = self.offload(node)
            states[ktls] = offload["state"]
            self.assertEqual(offload["state"] == "on", "reason" not in offload, offload)
            if offload["state"] != "on":
                self.assertEqual(offload["uses"], 0)
            missed = ktls == "on" and offload["state"] == "unsupported"
            self.assertEqual("ktls is" in node.tail(), missed, node.tail())
            node.stop()
        self.assertEqual(states["off"], "off")
        self.assertEqual(states[None], states["auto"])
        self.assertEqual(states["on"], states["auto"])
        self.assertIn(states["auto"], ("on", "unsupported"))
