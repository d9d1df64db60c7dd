"""What a node refuses to start with: each mistake has its own words, and where it has one, its place."""

import os
import re
import socket

from harness.case import PORT, SystemTest
from harness.network import Topology
from harness.node import binary
from harness.processes import Process
from harness.wireguard import KeyPair

PLACE = r"^{file}:(\d+):(\d+): "


class Refusals(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.node_keys()
        self.node = self.make_node(self.make_configuration(
            {"name": "one", "public_key": KeyPair.make().public, "allowed_ips": ["10.98.0.2/32"]},
            {"name": "two", "public_key": KeyPair.make().public, "allowed_ips": ["10.98.0.3/32"]}))

    @property
    def wireguard(self) -> dict:
        return self.node.document["wireguard"]

    def run_to_its_end(self, *wrapper: str) -> str:
        """Starts the node, which has to end by itself with exit code 1; returns its words."""
        process = Process([*wrapper, os.fspath(binary()), "run", "--config", str(self.node.config)],
                          self.node.log, prefix=self.topology.node.prefix)
        code = process.wait(15)
        self.assertEqual(code, 1, process.output())
        return process.output()

    def assert_refused(self, *mentions: str, at: str | None = None) -> None:
        """Both `check` and `run` refuse the node's document. `at`: the text that the place points to."""
        self.node.write()
        checked = self.node.command("check", "--config", str(self.node.config))
        self.assertEqual(checked.returncode, 1, checked.stdout + checked.stderr)
        for words in (checked.stderr, self.run_to_its_end()):
            for mention in mentions:
                self.assertRegex(words, mention)
            if at is not None:
                place = re.search(PLACE.format(file=re.escape(str(self.node.config))), words, re.MULTILINE)
                self.assertIsNotNone(place, words)
                line = self.node.config.read_text().splitlines()[int(place[1]) - 1]
                self.assertTrue(line[int(place[2]) - 1:].startswith(at), f"{words}\npoints to: {line}")

    # The file itself.

    def test_no_configuration_file(self) -> None:
        for command in ("check", "run"):
            with self.subTest(command):
                done = self.node.command(command, "--config", str(self.node.config))
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, re.escape(str(self.node.config)) + r".*[Nn]o such file")

    def test_a_folder_instead_of_a_file(self) -> None:
        done = self.node.command("check", "--config", str(self.directory))
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.directory), done.stderr)

    def test_not_toml(self) -> None:
        self.node.write("[node\nname = 1\n")
        done = self.node.command("check", "--config", str(self.node.config))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, PLACE.format(file=re.escape(str(self.node.config))))

    def test_an_unknown_key(self) -> None:
        self.node.document["node"]["nmae"] = "x"
        self.assert_refused("nmae", at="nmae")

    def test_a_wrong_type(self) -> None:
        self.node.document["node"]["workers"] = "two"
        self.assert_refused("workers", at='"two"')

    def test_every_mistake_is_told_at_once(self) -> None:
        self.node.document["node"]["nmae"] = "x"
        self.node.document["routes"][0]["auth"] = "everybody"
        self.wireguard["peers"][1]["public_key"] = "short"
        self.assert_refused("nmae", "everybody", "short|public_key")

    def test_what_is_not_built_yet_is_refused(self) -> None:
        self.node.document["io"]["packet"] = "dpdk"
        self.assert_refused("not yet", at='"dpdk"')

    def test_client_certificates_without_a_ca(self) -> None:
        self.node.document["routes"][0]["auth"] = "mtls-strict"
        self.assert_refused("client_ca_file", at='"mtls-strict"')

    # Keys and peers.

    def test_a_private_key_that_cannot_be_read(self) -> None:
        file = self.directory / "forbidden.key"
        file.write_text(KeyPair.make().private + "\n")
        file.chmod(0)
        self.wireguard["private_key_file"] = file
        self.node.write()
        # Root may read everything unless it lacks the capability to.
        words = self.run_to_its_end("setpriv", "--bounding-set=-dac_override,-dac_read_search",
                                    "--inh-caps=-all", "--")
        self.assertRegex(words, re.escape(str(file)) + r".*[Pp]ermission denied")

    def test_a_private_key_that_is_a_folder(self) -> None:
        self.wireguard["private_key_file"] = self.directory
        self.assert_refused(re.escape(str(self.directory)))

    def test_a_private_key_that_is_no_key(self) -> None:
        file = self.directory / "nonsense.key"
        file.write_text("this is not base64\n")
        self.wireguard["private_key_file"] = file
        self.assert_refused(re.escape(str(file)))

    def test_wrong_base64_in_a_public_key(self) -> None:
        good = self.wireguard["peers"][0]["public_key"]
        for wrong in (good[:-1], good[:20], "!" + good[1:], good + "AAAA", ""):
            with self.subTest(wrong=wrong):
                self.wireguard["peers"][0]["public_key"] = wrong
                self.assert_refused("public_key|base64|key", at=f'"{wrong}"')

    def test_overlapping_allowed_ips(self) -> None:
        self.wireguard["peers"][1]["allowed_ips"] = ["10.98.0.0/30"]
        self.assert_refused("overlap", '"one"', '"two"', at='"10.98.0.0/30"')

    def test_two_peers_with_one_key(self) -> None:
        self.wireguard["peers"][1]["public_key"] = self.wireguard["peers"][0]["public_key"]
        self.assert_refused('"one"', '"two"')

    # Certificates.

    def test_a_certificate_that_is_not_there(self) -> None:
        missing = self.directory / "missing.crt"
        self.node.document["certificates"][0]["cert_file"] = missing
        self.assert_refused(re.escape(str(missing)), at=f'"{missing}"')

    def test_a_key_of_another_certificate(self) -> None:
        other = self.authority.issue("other", ["other.sluice.test"])[1]
        self.node.document["certificates"][0]["key_file"] = other
        self.assert_refused(re.escape(str(other)))

    # What the machine refuses.

    def test_a_udp_port_in_use(self) -> None:
        with self.topology.node.make_socket(socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", Topology.WIREGUARD_PORT))
            self.node.write()
            words = self.run_to_its_end()
        self.assertRegex(words, rf"{Topology.WIREGUARD_PORT}.*in use")

    def test_a_tcp_port_in_use(self) -> None:
        with self.topology.node.make_socket() as taken:
            taken.bind(("0.0.0.0", PORT))
            taken.listen()
            self.node.write()
            words = self.run_to_its_end()
        self.assertRegex(words, rf'"any4".*{PORT}.*in use')

    def test_no_permission_for_the_tunnel_device(self) -> None:
        self.node.write()
        words = self.run_to_its_end("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", "--")
        self.assertIn("CAP_NET_ADMIN", words)

    def test_a_name_of_an_interface_that_is_no_tunnel(self) -> None:
        self.wireguard["interface"] = "lan0"
        self.node.write()
        self.assertIn("lan0", self.run_to_its_end())
        # It must not have been touched.
        self.assertIn(Topology.NODE, self.topology.node.ip("address", "show", "lan0"))

    def test_a_control_socket_in_the_place_of_a_file(self) -> None:
        file = self.directory / "node.key"
        self.node.document["control"]["socket"] = file
        self.node.write()
        self.assertIn(str(file), self.run_to_its_end())
        self.assertTrue(file.is_file(), "a file that is no socket was removed")

    def explain(self) -> str:
        return self.node.tail()
