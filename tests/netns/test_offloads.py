"""Each speed-up of the tunnel has a switch, and says in the status what became of it."""

from typing import Any

from harness.case import TUNNEL, SystemTest, client_as_peer, on_both_engines
from harness.network import Topology
from harness.node import Node
from harness.payload import Payload
from harness.wireguard import WireguardClient

BODY = 8 << 20
SWITCHES = ("udp_gso", "udp_gro", "tun_tso", "tun_uso", "tcp_coalescing", "udp_coalescing")
# What a transfer both ways makes use of, whatever the client is: it may send what is never merged
# on its way here, and none of it is inner UDP.
USED = ("udp_gso", "tun_tso", "tcp_coalescing")


@on_both_engines
class Offloads(SystemTest):
    client: WireguardClient

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client = cls.make_client()
        cls.node_keys()

    def start(self, offloads: dict[str, Any]) -> Node:
        document = self.make_configuration(client_as_peer(self.client))
        if offloads:
            document["offloads"] = offloads
        node = self.make_node(document)
        node.start()
        # Anew with each node: a client that had a session would wait 15 seconds before it tries another.
        self.client.up(self.node_as_peer())
        return node

    def end(self, node: Node) -> None:
        self.client.down()
        node.stop()

    def transfer(self) -> None:
        for address in (Topology.NODE_INNER, Topology.NODE_INNER6):
            site = self.site(self.topology.client, address)
            down, up = Payload(seed=1, size=BODY), Payload(seed=2, size=BODY)
            self.assertEqual(site.download(TUNNEL, f"/stream?size={BODY}&seed=1").finish(), down.sha256())
            self.assertEqual(site.upload(TUNNEL, "/sink", up.chunks(), size=BODY)["sha256"], up.sha256())

    def offloads(self, node: Node) -> dict[str, dict[str, Any]]:
        return {offload["name"]: offload for offload in node.status()["offloads"]}

    def test_by_default_all_are_on_that_the_machine_has(self) -> None:
        node = self.start({})
        self.transfer()
        seen = self.offloads(node)
        self.assertLessEqual({*SWITCHES, "aead_ipsec_mb"}, set(seen))
        for name, offload in seen.items():
            # A machine that lacks one says why.
            self.assertIn(offload["state"], ("on", "unsupported"), offload)
            self.assertEqual(offload["state"] == "unsupported", "reason" in offload, offload)
            if name in USED and offload["state"] == "on":
                self.assertGreater(offload["uses"], 0, offload)
        if seen["aead_ipsec_mb"]["state"] == "on":
            self.assertGreater(seen["aead_ipsec_mb"]["uses"], 2 * BODY / 1420)
        shown = node.command("status").stdout
        for name, offload in seen.items():
            self.assertIn(f"{name} {offload['state']}", shown)
        self.end(node)

    def test_without_any(self) -> None:
        node = self.start({**dict.fromkeys(SWITCHES, False), "aead": "openssl"})
        self.transfer()
        seen = self.offloads(node)
        for name in (*SWITCHES, "aead_ipsec_mb"):
            self.assertEqual(seen[name], {"name": name, "state": "off", "reason": "switched off", "uses": 0})
        self.end(node)

    def test_each_switch_is_its_own(self) -> None:
        before = None
        for off in (None, *SWITCHES):
            with self.subTest(off=off):
                node = self.start({off: False} if off else dict.fromkeys(SWITCHES, True))
                self.transfer()
                seen = self.offloads(node)
                states = {name: seen[name]["state"] for name in SWITCHES}
                if off is None:
                    before = states
                else:
                    self.assertEqual(states, {**before, off: "off"})
                self.end(node)
