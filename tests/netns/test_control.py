"""Control: reloads, the control socket and its commands, ends and new beginnings."""

import json
import os
import signal
import socket
import stat
import subprocess
import time

from harness import cleanup, web
from harness.backend import Paced
from harness.case import PUBLIC, TUNNEL, ServedTest, SystemTest, client_as_peer, on_both_engines
from harness.network import Topology
from harness.node import Node, binary
from harness.payload import Payload
from harness.waiting import until
from harness.wireguard import WireguardClient

BODY = Payload(seed=9, size=4 << 20)


@on_both_engines
class Reload(ServedTest):
    def tearDown(self) -> None:
        # Whatever a test wrote, the next one begins with the file of the class.
        self.node.write()
        self.assertEqual(self.node.reload().returncode, 0)

    def reload_with(self, **changes) -> None:
        """Reloads a file that has other tables than the node's document."""
        original = self.node.document
        try:
            self.node.document = {**original, **changes}
            self.node.write()
        finally:
            self.node.document = original
        done = self.node.reload()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def routes_with(self, host: str) -> list[dict]:
        return [*self.node.document["routes"],
                {"name": "extra", "hosts": [host], "auth": "public", "backend": "scripted"}]

    def test_a_download_survives_ten_reloads_that_change_other_routes(self) -> None:
        payload = Payload(seed=5, size=22 << 20)
        body = self.backend.paced(payload)
        download = self.inside.download(TUNNEL, body.path)
        body.let_go(2)
        download.read(1 << 20)
        generation = self.node.status()["generation"]
        for number in range(10):
            host = f"extra{number}.wild.sluice.test"
            self.reload_with(routes=self.routes_with(host))
            self.assertEqual(self.neighbour.fetch(host, "/echo").status, 200)
            gone = f"extra{number - 1}.wild.sluice.test"
            self.assertEqual(self.neighbour.fetch(gone, "/echo").status, 404)
            body.let_go(2)
            download.read(2 << 20)
        self.assertEqual(self.node.status()["generation"], generation + 10)
        self.assertEqual(download.finish(), payload.sha256())

    def test_an_open_connection_is_decided_by_the_new_routes(self) -> None:
        connection = self.neighbour.keep_alive(PUBLIC)

        def status() -> int:
            connection.request("GET", "/echo", headers={"Host": PUBLIC})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        self.assertEqual(status(), 200)
        closed = [{**route, "auth": "tailscale-only"} for route in self.node.document["routes"]]
        self.reload_with(routes=closed)
        self.assertEqual(status(), 403)
        connection.close()

    def test_a_broken_file_changes_nothing_and_says_why(self) -> None:
        good = self.node.config.read_text()
        before = self.node.status()["generation"]
        broken = {
            "not TOML": good + "\n[[routes\n",
            "unknown key": good.replace("[node]\n", "[node]\nnmae = \"x\"\n"),
            "unknown backend": good.replace('backend = "scripted"', 'backend = "scribbled"'),
            "no certificate file": good.replace("server.crt", "missing.crt"),
            "empty": "",
        }
        for what, text in broken.items():
            with self.subTest(what):
                self.node.write(text)
                done = self.node.reload()
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                if text:
                    self.assertIn(f"{self.node.config}:", done.stderr)
                self.assertEqual(self.node.status()["generation"], before)
                self.assert_serves()

    def test_a_file_that_is_gone_changes_nothing_and_says_why(self) -> None:
        self.node.config.unlink()
        done = self.node.reload()
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.node.config), done.stderr)
        self.assert_serves()

    def test_a_listener_comes_and_goes(self) -> None:
        listeners = self.node.document["listeners"]
        self.reload_with(listeners=[*listeners, {"name": "more", "address": "0.0.0.0:3445"}])
        self.topology.neighbour.connect(Topology.NODE, 3445).close()
        self.reload_with()
        with self.assertRaises(ConnectionRefusedError):
            self.topology.neighbour.connect(Topology.NODE, 3445)
        self.assert_serves()

    def test_a_peer_comes_and_goes(self) -> None:
        """A second device is let in by a reload and shut out by the next; the first notices neither."""
        laptop = WireguardClient(self.topology.neighbour, self.directory,
                                 addresses=["10.98.0.3/24", "fd98::3/64"])
        peers = [*self.node.document["wireguard"]["peers"],
                 {"name": "laptop", "public_key": laptop.keys.public, "allowed_ips": ["10.98.0.3/32"]}]
        self.reload_with(wireguard={**self.node.document["wireguard"], "peers": peers})
        laptop.up(self.node_as_peer())
        site = self.site(self.topology.neighbour, Topology.NODE_INNER)
        answer = site.fetch(TUNNEL, "/echo")
        self.assertEqual(answer.status, 200, str(answer))
        self.assertIn(["X-Sluice-Peer", "laptop"], answer.json()["headers"])

        self.reload_with()
        self.assertEqual(site.fetch(TUNNEL, "/echo", seconds=2).status, 0)
        self.assert_serves()

    def test_the_same_file_again_is_no_new_generation_and_no_harm(self) -> None:
        for _ in range(3):
            self.assertEqual(self.node.reload().returncode, 0)
        self.assert_serves()


@on_both_engines
class ControlSocket(ServedTest):
    def test_status_tells_what_it_promises(self) -> None:
        done = self.node.command("status", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        status = json.loads(done.stdout)
        for key in ("generation", "version", "uptime_seconds", "workers", "engine", "wireguard",
                    "offloads", "drops"):
            self.assertIn(key, status)
        self.assertEqual(status["engine"], self.engine)
        self.assertEqual(status["wireguard"]["listen_port"], Topology.WIREGUARD_PORT)

    def test_a_drop_is_counted_under_its_reason(self) -> None:
        def count() -> int:
            return self.node.status()["drops"].get("datagram_too_short", 0)

        before = count()
        with self.topology.neighbour.make_socket(socket.SOCK_DGRAM) as port:
            for _ in range(5):
                port.sendto(b"x", (Topology.NODE, Topology.WIREGUARD_PORT))
        until(lambda: count() >= before + 5, "the drops are counted")
        self.assertEqual(count(), before + 5)

    def test_commands_for_people_and_for_programs(self) -> None:
        self.assert_serves()
        for command, mentions in (("status", "node-21"), ("peers", "phone"), ("routes", "inside")):
            with self.subTest(command):
                words = self.node.command(command)
                self.assertEqual(words.returncode, 0, words.stderr)
                self.assertIn(mentions, words.stdout)
                data = self.node.command(command, "--json")
                self.assertEqual(data.returncode, 0, data.stderr)
                self.assertIsInstance(json.loads(data.stdout), (dict, list))

    def test_peers_know_the_client(self) -> None:
        self.assert_serves()
        (peer,) = self.node.ask("/v1/peers")[1]["peers"]
        self.assertEqual(peer["name"], "phone")
        self.assertEqual(peer["public_key"], self.client.keys.public)
        self.assertEqual(peer["endpoint"].rpartition(":")[0], Topology.CLIENT)
        self.assertGreater(peer["received_bytes"], 0)

    def test_curl_speaks_to_it(self) -> None:
        done = subprocess.run(["curl", "-sS", "--unix-socket", self.node.control, "http://sluice/v1/status"],
                              capture_output=True, text=True, check=True)
        self.assertGreaterEqual(json.loads(done.stdout)["generation"], 1)

    def test_unknown_paths_and_methods_are_refused(self) -> None:
        for method, path, expected in (("GET", "/v1/nothing", 404), ("GET", "/", 404),
                                       ("POST", "/v1/status", 405), ("GET", "/v1/stop", 405),
                                       ("GET", "/v1/reload", 405)):
            with self.subTest(f"{method} {path}"):
                self.assertEqual(self.node.ask(path, method)[0], expected)
        self.assert_serves()

    def test_only_the_owner_may_open_it(self) -> None:
        self.assertEqual(stat.S_IMODE(os.stat(self.node.control).st_mode), 0o600)

    def test_another_users_words_are_refused_even_if_the_file_lets_it_in(self) -> None:
        os.chmod(self.node.control, 0o666)
        os.chmod(self.directory, 0o755)
        cleanup.later(lambda: os.chmod(self.node.control, 0o600))
        done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "curl", "-s", "--max-time", "5",
                               "--unix-socket", self.node.control, "-o", os.devnull,
                               "-w", "%{http_code}", "-X", "POST", "http://sluice/v1/stop"],
                              capture_output=True, text=True, check=False)
        self.assertIn(done.stdout, ("000", "403"))
        self.assert_serves()


class Commands(SystemTest):
    """Without a node."""

    def setUp(self) -> None:
        super().setUp()
        self.node = self.make_node(self.make_configuration())

    def test_a_command_without_a_node_fails_and_says_so(self) -> None:
        for command in ("status", "peers", "routes", "reload", "stop"):
            with self.subTest(command):
                done = self.node.command(command)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(str(self.node.control), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_wrong_usage_is_exit_code_2(self) -> None:
        for arguments in (["sing"], ["run"], ["check"], ["run", "--config"], ["status", "--colour"]):
            with self.subTest(" ".join(arguments)):
                done = self.node.namespace.popen(
                    [os.fspath(binary()), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                words = done.communicate(timeout=10)[1]
                self.assertEqual(done.returncode, 2, words)
                self.assertTrue(words)

    def test_version_and_help(self) -> None:
        for arguments, mentions in ((["version"], b"0."), (["--help"], b"reload")):
            with self.subTest(" ".join(arguments)):
                done = subprocess.run([binary(), *arguments], capture_output=True, check=False)
                self.assertEqual(done.returncode, 0)
                self.assertIn(mentions, done.stdout)

    def test_check_accepts_a_good_file(self) -> None:
        self.node_keys()
        self.node.write()
        done = self.node.command("check", "--config", str(self.node.config))
        self.assertEqual(done.returncode, 0, done.stderr)


@on_both_engines
class Ending(SystemTest):
    """Ends of a node, ordered and violent, and what the next one finds."""

    alone = True

    def setUp(self) -> None:
        super().setUp()
        self.client = self.make_client(listen_port=51820)
        self.node_keys()
        self.node = self.make_node(self.make_configuration(client_as_peer(
            self.client, endpoint=f"{Topology.CLIENT}:51820", persistent_keepalive=1)))
        self.inside = self.site(self.topology.client, Topology.NODE_INNER)
        self.neighbour = self.site(self.topology.neighbour, Topology.NODE)

    def explain(self) -> str:
        return self.node.tail()

    def assert_nothing_left(self) -> None:
        self.assertNotIn(self.node.interface, interfaces(self.node))
        self.assertFalse(self.node.control.exists())
        with self.assertRaises(ConnectionRefusedError):
            self.neighbour.plain()

    def test_stop_and_signals_end_it_in_order(self) -> None:
        for by in (None, signal.SIGTERM, signal.SIGINT):
            with self.subTest(by=by):
                self.node.start()
                self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo").status, 200)
                self.node.stop(by)
                self.assert_nothing_left()

    def begin_download(self) -> tuple[web.Download, Paced]:
        """One of which the first MiB has come, and the rest has to be let go."""
        body = self.backend.paced(BODY)
        download = self.neighbour.download(PUBLIC, body.path)
        body.let_go(2)
        download.read(1 << 20)
        return download, body

    def test_stop_does_not_wait_for_a_body_that_is_under_way(self) -> None:
        for by in (None, signal.SIGINT):
            with self.subTest(by=by):
                self.node.start()
                download, _ = self.begin_download()
                self.node.stop(by, seconds=5)
                download.give_up()
                self.assert_nothing_left()

    def test_sigterm_lets_a_body_that_is_under_way_end(self) -> None:
        """And lets nothing new begin."""
        self.node.start()
        download, body = self.begin_download()
        self.node.process.send(signal.SIGTERM)
        until(lambda: not accepts(self.neighbour), "the node accepts no more connections")
        body.let_go(2)
        self.assertEqual(download.finish(), BODY.sha256())
        self.assertEqual(self.node.process.wait(5), 0)
        self.node.assert_no_complaint()
        self.assert_nothing_left()

    def test_a_second_sigterm_does_not_wait(self) -> None:
        self.node.start()
        download, _ = self.begin_download()
        self.node.process.send(signal.SIGTERM)
        until(lambda: not accepts(self.neighbour), "the node accepts no more connections")
        self.node.stop(signal.SIGTERM, seconds=5)
        download.give_up()

    def test_after_kill_9_it_serves_within_a_second(self) -> None:
        self.node.start()
        self.client.up(self.node_as_peer())
        self.assertEqual(self.inside.fetch(TUNNEL, "/echo").status, 200)
        for _ in range(3):
            self.node.kill()
            self.assertTrue(self.node.control.exists(), "there should be a stale socket to get over")
            started = time.monotonic()
            self.node.launch()
            self.await_public(started)
            # The node knows the peer's endpoint and calls it, so the tunnel need not wait for the peer.
            until(lambda: self.inside.fetch(TUNNEL, "/echo", seconds=1).status == 200,
                  "the tunnel serves again", 10)
        self.node.await_ready()
        self.node.stop()
        self.assert_nothing_left()

    def test_a_stale_tunnel_device_is_no_obstacle(self) -> None:
        for flags in ([], ["multi_queue"], ["vnet_hdr", "multi_queue"]):
            with self.subTest(flags=flags):
                self.topology.node.ip("tuntap", "add", "dev", self.node.interface, "mode", "tun", *flags)
                started = time.monotonic()
                self.node.launch()
                self.await_public(started)
                self.node.await_ready()
                self.node.stop()
                if self.node.interface in interfaces(self.node):
                    self.topology.node.ip("link", "delete", self.node.interface)

    def test_a_second_node_is_refused_and_does_not_disturb_the_first(self) -> None:
        self.node.start()
        second = self.make_node({**self.node.document, "control": {"socket": self.node.control}})
        second.launch()
        self.assertEqual(second.process.wait(10), 1)
        self.assertEqual(self.neighbour.fetch(PUBLIC, "/echo").status, 200)
        self.assertGreaterEqual(self.node.status()["generation"], 1)
        self.node.stop()

    def await_public(self, started: float) -> None:
        until(lambda: self.neighbour.fetch(PUBLIC, "/echo", seconds=1).status == 200, "it serves", 10)
        self.assertLess(time.monotonic() - started, 1.0)


def accepts(site: web.Site) -> bool:
    """A listener that closes resets what the kernel has taken for it and nobody has accepted yet."""
    try:
        site.plain().close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def interfaces(node: Node) -> list[str]:
    return [link["ifname"] for link in json.loads(node.namespace.ip("-json", "link", "show"))]
