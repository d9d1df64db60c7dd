"""The stock wg(8) at the node's own WireGuard socket: what it shows, and what it changes."""

import socket

from harness.case import TUNNEL, ServedTest
from harness.network import Topology
from harness.processes import Failed
from harness.wireguard import KeyPair


class WgToolTest(ServedTest):
    def wg(self, *arguments: str, stdin: str | None = None) -> str:
        return self.topology.node.run("wg", *arguments, stdin=stdin)

    def show(self, what: str) -> list[str]:
        return self.wg("show", self.node.interface, what).splitlines()

    def set_peer(self, peer: KeyPair, *arguments: str) -> None:
        self.wg("set", self.node.interface, "peer", peer.public, *arguments)


class WgTool(WgToolTest):
    def tearDown(self) -> None:
        self.node.reload()  # brings back what the file says
        super().tearDown()

    def test_it_shows_the_interface_and_its_peer(self) -> None:
        self.assert_serves()
        self.assertEqual(self.show("listen-port"), [str(Topology.WIREGUARD_PORT)])
        (handshake,) = self.show("latest-handshakes")
        self.assertGreater(int(handshake.split("\t")[1]), 0)
        (transfer,) = self.show("transfer")
        self.assertTrue(all(int(count) > 0 for count in transfer.split("\t")[1:]), transfer)

    def test_peers_come_and_go_and_the_others_keep_their_sessions(self) -> None:
        (before,) = self.show("latest-handshakes")
        peer = KeyPair.make()
        self.set_peer(peer, "allowed-ips", "10.98.0.200/32,fd98::200/128", "persistent-keepalive", "25",
                      "endpoint", f"{Topology.CLIENT}:9")
        self.assertIn(f"{peer.public}\t10.98.0.200/32 fd98::200/128", self.show("allowed-ips"))
        self.assertIn(f"{peer.public}\t25", self.show("persistent-keepalive"))
        self.assert_serves()
        self.set_peer(peer, "remove")
        self.assertEqual(self.show("latest-handshakes"), [before])

    def test_what_showconf_says_is_what_setconf_and_syncconf_make(self) -> None:
        peer = KeyPair.make()
        self.set_peer(peer, "allowed-ips", "10.98.0.201/32")
        configuration = self.wg("showconf", self.node.interface)
        for command in ("syncconf", "setconf"):
            self.set_peer(peer, "allowed-ips", "10.98.0.202/32")
            self.wg(command, self.node.interface, "/dev/stdin", stdin=configuration)
            self.assertEqual(self.wg("showconf", self.node.interface), configuration)
        self.assert_serves()

    def test_another_port_is_taken_and_a_port_in_use_is_refused(self) -> None:
        taken = self.topology.node.make_socket(socket.SOCK_DGRAM, socket.AF_INET6)
        self.addCleanup(taken.close)
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        with self.assertRaises(Failed):
            self.wg("set", self.node.interface, "listen-port", str(port))
        self.assertEqual(self.show("listen-port"), [str(Topology.WIREGUARD_PORT)])
        taken.close()
        self.wg("set", self.node.interface, "listen-port", str(port))
        self.assertEqual(self.show("listen-port"), [str(port)])

    def test_a_reload_brings_back_what_the_file_says(self) -> None:
        self.set_peer(KeyPair.make(), "allowed-ips", "10.98.0.203/32")
        self.assertEqual(len(self.show("peers")), 2)
        self.assertEqual(self.node.reload().returncode, 0)
        self.assertEqual(len(self.show("peers")), 1)


class WgToolRemoval(WgToolTest):
    def test_a_peer_that_is_removed_is_cut_off_at_once(self) -> None:
        self.assert_serves()
        (key,) = self.show("peers")
        self.wg("set", self.node.interface, "peer", key, "remove")
        inside = self.site(self.topology.client, Topology.NODE_INNER)
        self.assertEqual(inside.fetch(TUNNEL, "/echo", seconds=2).status, 0)
