"""What is changed while the tunnel is in use, and settings that are out of the ordinary: very many allowed IPs, and
keys that are none."""

import socket

from harness.case import TUNNEL, ServedTest, SystemTest
from harness.handmade import HandmadePeer, echo_reply_number, echo_request
from harness.network import Topology
from harness.payload import Payload
from harness.recorder import Recorder
from harness.waiting import until
from harness.wireguard import KeyPair

# Points of low order on the curve: whatever the private key, the shared secret is zero, and known to everybody.
LOW_ORDER = ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
             "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=", "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
             "7P///////////////////////////////////////38=", "7f///////////////////////////////////////38=",
             "7v///////////////////////////////////////38=")


class PrivateKey(ServedTest):
    def test_a_new_private_key_ends_what_the_old_one_began_and_serves_under_the_new(self) -> None:
        payload = Payload(seed=6, size=16 << 20)
        body = self.backend.paced(payload)
        download = self.inside.download(TUNNEL, body.path)
        body.let_go(8)
        download.read(7 << 20)
        new = KeyPair.make()
        file = self.directory / "new.key"
        file.touch(mode=0o600)
        file.write_text(new.private + "\n")
        self.topology.node.run("wg", "set", self.node.interface, "private-key", str(file))
        self.assertEqual(self.topology.node.run("wg", "show", self.node.interface, "public-key").strip(), new.public)
        # To the old key nobody answers any more.
        body.let_go(8)
        self.assertEqual(self.inside.fetch(TUNNEL, "/echo", seconds=2).status, 0)
        old = self.node_as_peer()
        self.client.wg("set", self.client.interface, "peer", old.public_key, "remove")
        old.public_key = new.public
        self.client.set_peer(old)
        self.assertEqual(self.inside.fetch(TUNNEL, "/echo").status, 200)
        # The connection inside does not know about keys.
        self.assertEqual(download.finish(), payload.sha256())


class StrangeSettings(SystemTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.node_keys()
        cls.keys = KeyPair.make()
        cls.node = cls.make_node(cls.make_configuration(
            {"name": "handmade", "public_key": cls.keys.public, "allowed_ips": [f"{Topology.CLIENT_INNER}/32"]}))
        cls.node.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop()

    def tearDown(self) -> None:
        self.assertEqual(self.node.reload().returncode, 0)  # brings back what the file says

    def wg(self, *arguments: str, stdin: str | None = None) -> str:
        return self.topology.node.run("wg", *arguments, stdin=stdin)

    def test_keys_of_low_order_get_nothing_to_hear(self) -> None:
        first_port = 20_000
        recorder = Recorder(self.topology.node, "lan0")
        for number, key in enumerate(LOW_ORDER):
            self.wg("set", self.node.interface, "peer", key, "allowed-ips", f"10.98.0.{100 + number}/32",
                    "endpoint", f"{Topology.CLIENT}:{first_port + number}", "persistent-keepalive", "1")
        for number in range(len(LOW_ORDER)):
            with self.topology.node.make_socket(socket.SOCK_DGRAM) as sender:
                sender.sendto(b"anybody?", (f"10.98.0.{100 + number}", 9))
        # A peer with a real key, told of last, is called.
        peer = HandmadePeer(self.topology.client, self.node_keys().public)
        self.wg("set", self.node.interface, "peer", peer.keys.public, "endpoint", f"{Topology.CLIENT}:{peer.port}",
                "persistent-keepalive", "1")
        response, session = peer.answer(peer.receive())
        peer.send(response)
        for _ in range(3):  # three of its keepalives, so that the others' would have come as well
            session.unseal(peer.receive())
        recorder.stop()
        self.assertGreater(len(recorder.sent_to(peer.port)), 0)
        strays = [sent for sent in recorder.datagrams if first_port <= sent.destination_port < first_port + 7]
        self.assertEqual(strays, [])

    def test_130560_allowed_ips_of_one_peer(self) -> None:
        prefixes = [f"{a}.{b}.{c}.{d}/32" for a in (20, 21) for b in range(2) for c in range(128) for d in range(255)]
        self.assertEqual(len(prefixes), 130_560)
        configuration = ["[Peer]", f"PublicKey = {self.keys.public}", f"AllowedIPs = {Topology.CLIENT_INNER}/32"]
        configuration += ["AllowedIPs = " + ", ".join(prefixes[at: at + 1000]) for at in range(0, len(prefixes), 1000)]
        self.wg("addconf", self.node.interface, "/dev/stdin", stdin="\n".join(configuration) + "\n")
        key, shown = self.wg("show", self.node.interface, "allowed-ips").strip().split("\t")
        self.assertEqual((key, set(shown.split())), (self.keys.public, {f"{Topology.CLIENT_INNER}/32", *prefixes}))
        # The node routes each of them into the tunnel, so its answers find their way.
        peer = HandmadePeer(self.topology.client, self.node_keys().public, keys=self.keys)
        peer.handshake()
        for number, prefix in enumerate((prefixes[0], prefixes[-1], prefixes[65_432])):
            source = prefix.removesuffix("/32")
            peer.send(peer.session.seal(echo_request(number, source=source)))
            _, packet = peer.session.unseal(peer.receive())
            self.assertEqual(echo_reply_number(packet), number)
        before = self.node.status()["drops"].get("inner_source_not_allowed", 0)
        peer.send(peer.session.seal(echo_request(9, source="20.2.0.1")))
        until(lambda: self.node.status()["drops"].get("inner_source_not_allowed", 0) > before, "another source is refused")

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}\ndrops: {self.node.status()['drops']}"
