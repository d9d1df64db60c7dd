"""The tunnel against a stock WireGuard end: who begins, with which keys, and from where."""

from harness import cleanup
from harness.case import TUNNEL, ServedTest, SystemTest, client_as_peer, on_both_engines
from harness.network import Topology, add_address
from harness.payload import Payload
from harness.waiting import until
from harness.wireguard import WireguardClient, make_preshared_key

CLIENT_PORT = 51820


@on_both_engines
class Initiator(SystemTest):
    """The node knows where the client is; the client does not know where the node is."""

    def start(self, client: WireguardClient, **peer) -> None:
        self.node_keys()
        client.up(self.node_as_peer(endpoint=None))
        endpoint = f"{Topology.CLIENT}:{client.listen_port}"
        self.node = self.make_node(self.make_configuration(client_as_peer(client, endpoint=endpoint, **peer)))
        self.node.start()

    def test_the_node_begins_the_handshake_when_it_has_something_to_send(self) -> None:
        client = self.make_client(listen_port=CLIENT_PORT)
        self.start(client)
        self.assertEqual(client.handshake_time(), 0)
        self.topology.node.run("ping", "-c", "1", "-W", "10", Topology.CLIENT_INNER)
        self.assertGreater(client.handshake_time(), 0)
        answer = self.site(self.topology.client, Topology.NODE_INNER).fetch(TUNNEL, "/echo")
        self.assertEqual(answer.status, 200, str(answer))
        self.node.stop()

    def test_persistent_keepalive_makes_and_keeps_the_tunnel(self) -> None:
        """Nobody sends anything: the node's keepalives alone make the handshake and then go on."""
        client = self.make_client(listen_port=CLIENT_PORT)
        self.start(client, persistent_keepalive=1)
        until(client.handshake_time, "the first keepalive makes a handshake")
        before = client.received_bytes()
        keepalive = 32  # an empty data message
        until(lambda: client.received_bytes() >= before + 3 * keepalive, "three more keepalives", 15)
        self.node.stop()

    def explain(self) -> str:
        return self.node.tail()


@on_both_engines
class PresharedKey(SystemTest):
    def test_only_the_right_preshared_key_opens_the_tunnel(self) -> None:
        right, wrong = make_preshared_key(), make_preshared_key()
        file = self.directory / "phone.psk"
        file.write_text(right + "\n")
        client = self.make_client()
        self.node_keys()
        node = self.make_node(self.make_configuration(client_as_peer(client, preshared_key_file=file)))
        node.start()
        inside = self.site(self.topology.client, Topology.NODE_INNER)

        client.up(self.node_as_peer(preshared_key=wrong))
        self.assertEqual(inside.fetch(TUNNEL, "/echo", seconds=3).status, 0)
        self.assertEqual(client.handshake_time(), 0)

        client.set_peer(self.node_as_peer(preshared_key=right))
        # The client tries again 5 s after its last attempt.
        answer = inside.fetch(TUNNEL, "/echo", seconds=15)
        self.assertEqual(answer.status, 200, f"{answer}\n{node.tail()}")
        node.stop()


@on_both_engines
class Roaming(ServedTest):
    @classmethod
    def node_as_peer(cls, **options):
        # As a phone has it: the node can only learn of a move from something that the phone sends.
        return super().node_as_peer(persistent_keepalive=1, **options)

    def test_a_download_survives_the_clients_move_to_another_address(self) -> None:
        payload = Payload(seed=1, size=30 << 20)
        body = self.backend.paced(payload)
        download = self.inside.download(TUNNEL, body.path)
        body.let_go(10)
        download.read(9 << 20)
        moved = "192.168.77.51"
        self.topology.client.ip("address", "delete", f"{Topology.CLIENT}/24", "dev", "lan0")
        add_address(self.topology.client, "lan0", f"{moved}/24")
        cleanup.later(lambda: self.move_back(moved))
        self.notice_the_move()
        body.let_go(20)
        self.assertEqual(download.finish(), payload.sha256())
        self.assertEqual(self.endpoint_at_node().rpartition(":")[0], moved)

    def test_a_download_survives_a_new_source_port(self) -> None:
        payload = Payload(seed=2, size=30 << 20)
        body = self.backend.paced(payload)
        download = self.inside.download(TUNNEL, body.path)
        body.let_go(10)
        download.read(9 << 20)
        self.client.wg("set", self.client.interface, "listen-port", "40001")
        body.let_go(20)
        self.assertEqual(download.finish(), payload.sha256())
        self.assertEqual(self.endpoint_at_node().rpartition(":")[2], "40001")

    def move_back(self, moved: str) -> None:
        self.topology.client.ip("address", "delete", f"{moved}/24", "dev", "lan0")
        add_address(self.topology.client, "lan0", f"{Topology.CLIENT}/24")
        self.notice_the_move()

    def notice_the_move(self) -> None:
        # wireguard-go goes on sending from the old address until it is told, as an app tells it.
        self.client.set_peer(self.node_as_peer())

    def endpoint_at_node(self) -> str:
        status, answer = self.node.ask("/v1/peers")
        self.assertEqual(status, 200, answer)
        (peer,) = answer["peers"]
        return peer["endpoint"]
