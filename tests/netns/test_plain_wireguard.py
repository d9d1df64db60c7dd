"""`sluice wireguard`, the start form that user-space implementations share: wg(8), wg-quick(8) and
ip(8) configure it, callers hand it descriptors, and it ends when its interface or socket goes."""

import fcntl
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from harness import cleanup, processes
from harness.case import SystemTest, on_both_engines
from harness.network import Namespace, Topology
from harness.node import binary
from harness.payload import Payload
from harness.plain import SOCKETS, PlainInterface, is_alive
from harness.waiting import until
from harness.wireguard import KeyPair, Peer

PORT, CLIENT_PORT = 41900, 51820
OURS, THEIRS = "10.97.0.1", "10.97.0.2"
OURS6, THEIRS6 = "fd97::1", "fd97::2"

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x1, 0x1000, 0x4000, 0x100


class PlainTest(SystemTest):
    def make(self, namespace: Namespace | None = None, **environment: str) -> PlainInterface:
        environment = {"SLUICE_ENGINE": self.engine, **environment}
        return PlainInterface(namespace or self.topology.node, self.directory, environment=environment)

    def make_peer(self, ours: PlainInterface) -> None:
        """Debian's wireguard-go, which knows where we are."""
        self.client = self.make_client(addresses=(f"{THEIRS}/24", f"{THEIRS6}/64"), listen_port=CLIENT_PORT)
        self.client.up(Peer(ours.keys.public, [f"{OURS}/32", f"{OURS6}/128"],
                            endpoint=f"{Topology.NODE}:{PORT}"))

    def as_peer(self, **options) -> Peer:
        """What ours is told about it."""
        return Peer(self.client.keys.public, [f"{THEIRS}/32", f"{THEIRS6}/128"],
                    **{"endpoint": f"{Topology.CLIENT}:{CLIENT_PORT}", **options})

    def connected(self, ours: PlainInterface, **options) -> PlainInterface:
        """Started already; here it gets key, peer and addresses, and goes up."""
        self.make_peer(ours)
        ours.configure(self.as_peer(**options), port=PORT)
        ours.up(f"{OURS}/24", f"{OURS6}/64")
        return ours

    def assert_pings(self, namespace: Namespace, address: str) -> None:
        # The first may be lost while the program hears that its interface went up.
        until(lambda: ping(namespace, address), f"{address} answers", 30)

    def assert_carries(self, ours: PlainInterface) -> None:
        """Bytes of both directions and both families arrive as they were sent."""
        for address, here, there in ((THEIRS, ours.namespace, self.topology.client),
                                     (OURS, self.topology.client, ours.namespace),
                                     (OURS6, self.topology.client, ours.namespace)):
            payload = Payload(seed=7, size=3 << 20)
            self.assertEqual(transfer(here, there, address, payload), payload.sha256(), address)


def ping(namespace: Namespace, address: str, *options: str) -> bool:
    done = subprocess.run([*namespace.prefix, "ping", "-c", "1", "-W", "2", *options, address],
                          capture_output=True, check=False)
    return done.returncode == 0


def transfer(sender: Namespace, receiver: Namespace, address: str, payload: Payload) -> str:
    """Sends over one TCP connection and returns the SHA-256 of what arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver.make_socket(family=family) as listening:
        listening.bind((address, 0))
        listening.listen()
        listening.settimeout(30)
        sending = sender.connect(address, listening.getsockname()[1], seconds=30)

        def send() -> None:
            with sending:
                for chunk in payload.chunks():
                    sending.sendall(chunk)

        thread = threading.Thread(target=send)
        thread.start()
        digest = hashlib.sha256()
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(60)
            while piece := accepted.recv(1 << 18):
                digest.update(piece)
        thread.join()
        return digest.hexdigest()


def open_tun(namespace: Namespace, name: str, flags: int) -> int:
    """A TUN descriptor, attached to a new device."""
    with namespace.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return descriptor


@on_both_engines
class PlainTraffic(PlainTest):
    def test_it_is_made_configured_used_and_ended_by_stock_tools(self) -> None:
        ours = self.make().start()
        self.assertEqual(ours.show("private-key"), ["(none)"])
        self.assertEqual(ours.show("public-key"), ["(none)"])
        self.assertEqual(ours.show("fwmark"), ["off"])
        self.assertGreater(int(ours.show("listen-port")[0]), 0)
        link = ours.namespace.ip("link", "show", ours.name)
        self.assertIn("mtu 1420", link)
        self.assertNotIn("UP", re.search("<(.*)>", link)[1].split(","))
        self.assertEqual(ours.namespace.ip("-o", "address", "show", ours.name), "")

        self.connected(ours)
        self.assert_pings(ours.namespace, THEIRS)
        self.assertGreater(self.client.handshake_time(), 0)
        self.assert_carries(ours)
        self.assertGreater(ours.sent_bytes(), 3 << 20)

        written = ours.wg("showconf", ours.name)
        self.assertIn(f"ListenPort = {PORT}", written)
        for command in ("setconf", "syncconf"):
            ours.set_peer(Peer(KeyPair.make().public, ["10.97.1.0/24"]))
            self.assertEqual(len(ours.show("peers")), 2)
            ours.wg(command, ours.name, "/dev/stdin", stdin=written)
            self.assertEqual(ours.wg("showconf", ours.name), written)
        self.assert_pings(ours.namespace, THEIRS)

        os.kill(ours.pid, signal.SIGTERM)
        ours.await_end()


class PlainMoved(PlainTest):
    """The device is in another network namespace; the UDP socket stays where the program was started."""

    def test_it_is_used_followed_and_ended_in_another_namespace(self) -> None:
        ours = self.make().start()
        elsewhere = Namespace("backend", cleanup.unique())
        ours.move(elsewhere)
        self.connected(ours)
        self.assert_pings(elsewhere, THEIRS)
        self.assert_carries(ours)
        # A new socket, made after the move, belongs to the first namespace, too.
        ours.wg("set", ours.name, "listen-port", str(PORT + 1))
        self.assertIn(f":{PORT + 1} ", self.topology.node.run("ss", "-Hlun"))
        self.assert_pings(elsewhere, THEIRS)
        assert_follows_mtu(ours)
        elsewhere.ip("link", "delete", ours.name)
        ours.await_end()

    def test_it_ends_with_the_namespace_that_it_was_moved_to(self) -> None:
        ours = self.make().start()
        name = f"sluice-backend-{cleanup.unique()}"
        processes.run(["ip", "netns", "add", name])
        ours.namespace.ip("link", "set", ours.name, "netns", name)
        processes.run(["ip", "netns", "delete", name])
        ours.await_end()


def assert_follows_mtu(ours: PlainInterface) -> None:
    """Padding to 16 bytes stops at the MTU, so the size of a full packet outside says which MTU is
    known: 1285 bytes and the 32 of WireGuard, and not 1296 and 32."""
    mtu, size, overhead = 1285, 1285 - 28, 32
    ours.namespace.ip("link", "set", ours.name, "mtu", str(mtu))

    def sent_by_one_ping() -> int:
        before = ours.sent_bytes()
        ping(ours.namespace, THEIRS, "-s", str(size), "-M", "do")
        return ours.sent_bytes() - before

    until(lambda: sent_by_one_ping() == mtu + overhead, f"the MTU of {mtu} is known", 30)


class PlainLink(PlainTest):
    def test_mtu_and_link_state_are_followed(self) -> None:
        ours = self.connected(self.make().start(), persistent_keepalive=1)
        self.assert_pings(ours.namespace, THEIRS)
        assert_follows_mtu(ours)

        def is_silent() -> bool:
            before = self.client.received_bytes()
            time.sleep(3)  # in which three keepalives would come
            return self.client.received_bytes() == before

        sent = ours.sent_bytes()
        until(lambda: not is_silent(), "keepalives are sent", 30)
        ours.namespace.ip("link", "set", ours.name, "down")
        until(is_silent, "nothing is sent while the interface is down", 30)
        self.assertGreaterEqual(ours.sent_bytes(), sent, "what was counted is kept")
        self.assertEqual(len(ours.show("peers")), 1)
        ours.namespace.ip("link", "set", ours.name, "up")
        self.assert_pings(ours.namespace, THEIRS)

        ours.wg("set", ours.name, "private-key", "/dev/null")
        self.assertEqual(ours.show("public-key"), ["(none)"])
        until(is_silent, "nothing is sent without a private key", 30)
        ours.wg("set", ours.name, "private-key", ours.secret("private", ours.keys.private))
        self.assert_pings(ours.namespace, THEIRS)

    def test_a_learned_endpoint_outlives_the_time_when_the_link_is_down(self) -> None:
        ours = self.connected(self.make().start(), endpoint=None)
        self.assert_pings(self.topology.client, OURS)
        learned = ours.show("endpoints")
        self.assertTrue(learned[0].endswith(f"\t{Topology.CLIENT}:{CLIENT_PORT}"), learned)
        ours.namespace.ip("link", "set", ours.name, "down")
        ours.namespace.ip("link", "set", ours.name, "up")
        self.assertEqual(ours.show("endpoints"), learned)
        self.assert_pings(ours.namespace, THEIRS)


class PlainDescriptors(PlainTest):
    def test_a_tun_descriptor_is_adopted_and_names_the_interface(self) -> None:
        for extra in (0, IFF_MULTI_QUEUE):
            with self.subTest(flags=hex(extra)):
                ours = self.make(SLUICE_WORKERS="2")
                tun = open_tun(ours.namespace, ours.name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | extra)
                ours.environment["WG_TUN_FD"] = str(tun)
                try:
                    ours.start(pass_fds=[tun], argument="ignored")
                finally:
                    os.close(tun)
                self.assertIn("mtu 1420", ours.namespace.ip("link", "show", ours.name))
                self.connected(ours)
                self.assert_pings(ours.namespace, THEIRS)
                self.assert_carries(ours)
                os.kill(ours.pid, signal.SIGTERM)
                ours.await_end()
                self.client.process.end()

    def test_an_mtu_that_the_caller_chose_is_kept(self) -> None:
        ours = self.make()
        tun = open_tun(ours.namespace, ours.name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        self.addCleanup(os.close, tun)
        ours.namespace.ip("link", "set", ours.name, "mtu", "1380")
        ours.environment["WG_TUN_FD"] = str(tun)
        ours.start(pass_fds=[tun])
        self.assertIn("mtu 1380", ours.namespace.ip("link", "show", ours.name))

    def test_a_listening_socket_is_adopted_with_its_file(self) -> None:
        ours = self.make()
        SOCKETS.mkdir(mode=0o755, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(ours.control))
            listening.listen()
            ours.environment["WG_UAPI_FD"] = str(listening.fileno())
            done = ours.launch(pass_fds=[listening.fileno()])
            self.assertEqual(done.returncode, 0, done.stderr)
        ours.pid = children_named(ours.name)[0]
        self.assertEqual(ours.show("public-key"), ["(none)"])
        ours.configure(port=PORT)
        self.assertEqual(ours.show("listen-port"), [str(PORT)])
        os.kill(ours.pid, signal.SIGTERM)
        ours.await_end()

    def test_what_is_no_such_descriptor_is_refused(self) -> None:
        ours = self.make()
        plain = open_tun(ours.namespace, f"x{cleanup.unique()}", IFF_TUN | IFF_NO_PI)
        self.addCleanup(os.close, plain)
        null = os.open("/dev/null", os.O_RDWR)
        self.addCleanup(os.close, null)
        for variable, value, words in (("WG_TUN_FD", "987", "is not open"),
                                       ("WG_TUN_FD", str(null), "not attached to a TUN device"),
                                       ("WG_TUN_FD", str(plain), "IFF_VNET_HDR"),
                                       ("WG_TUN_FD", "seven", "has to be"),
                                       ("WG_UAPI_FD", "987", "is not open"),
                                       ("WG_UAPI_FD", str(null), "not a Unix socket that listens"),
                                       ("SLUICE_WORKERS", "many", "has to be"),
                                       ("SLUICE_ENGINE", "steam", "has to be")):
            with self.subTest(variable=variable, value=value):
                ours.environment = {variable: value}
                done = ours.launch(pass_fds=[plain, null])
                self.assert_refused(done, variable, words)
                self.assertFalse(ours.exists())

    def assert_refused(self, done: subprocess.CompletedProcess, *words: str) -> None:
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


def children_named(interface: str) -> list[int]:
    """Processes with the interface among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry.name.isdigit() and interface.encode() in arguments and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


class PlainProcess(PlainTest):
    def test_the_background_process_is_on_its_own(self) -> None:
        ours = self.make()
        lock = os.open(str(self.directory / "lock"), os.O_CREAT | os.O_RDWR)
        self.addCleanup(os.close, lock)
        ours.start(pass_fds=[lock])  # returns, so nothing of ours is held open
        self.assertEqual(os.getsid(ours.pid), ours.pid)
        self.assertEqual(os.readlink(f"/proc/{ours.pid}/cwd"), "/")
        for descriptor in range(3):
            self.assertEqual(os.readlink(f"/proc/{ours.pid}/fd/{descriptor}"), "/dev/null")
        opened = [os.readlink(entry) for entry in Path(f"/proc/{ours.pid}/fd").iterdir()]
        self.assertNotIn(str(self.directory / "lock"), opened)

    def test_a_log_that_was_asked_for_goes_on_in_the_background(self) -> None:
        ours = self.make(LOG_LEVEL="verbose")
        log = self.directory / f"{ours.name}.words"
        with log.open("wb") as output:
            started = subprocess.run([*ours.namespace.prefix, str(binary()), "wireguard", ours.name],
                                     stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=30,
                                     env=ours.whole_environment(), check=False)
        self.assertEqual(started.returncode, 0, log.read_text())
        ours.pid = ours.serving_pid()
        os.kill(ours.pid, signal.SIGTERM)
        ours.await_end()
        self.assertIn("a signal says so", log.read_text())

    def test_it_ends_with_a_signal_its_interface_or_its_socket(self) -> None:
        def by_signal(number: signal.Signals):
            return lambda ours: os.kill(ours.pid, number)

        ways = {"SIGTERM": by_signal(signal.SIGTERM), "SIGINT": by_signal(signal.SIGINT),
                "ip link delete": lambda ours: ours.namespace.ip("link", "delete", ours.name),
                "rm": lambda ours: ours.control.unlink(),
                "mv": lambda ours: ours.control.rename(self.directory / "moved.sock")}
        for name, way in ways.items():
            for in_foreground in (False, True):
                with self.subTest(way=name, in_foreground=in_foreground):
                    ours = self.make()
                    process = ours.start_in_foreground() if in_foreground else None
                    if process is None:
                        ours.start()
                    way(ours)
                    if process is not None:
                        self.assertEqual(process.wait(20), 0, process.output())
                        self.assertEqual(process.output(), "")
                    ours.await_end()

    def test_the_variable_keeps_it_in_the_foreground(self) -> None:
        ours = self.make()
        process = ours.namespace.start([str(binary()), "wireguard", ours.name],
                                       self.directory / f"{ours.name}.log",
                                       environment=ours.whole_environment(WG_PROCESS_FOREGROUND="1"))
        until(ours.control.exists, "it serves", 30)
        self.assertEqual(ours.serving_pid(), process.pid)
        process.send(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_it_starts_again_where_one_was_killed(self) -> None:
        ours = self.make().start()
        ours.configure(port=PORT)
        os.kill(ours.pid, signal.SIGKILL)
        until(lambda: not is_alive(ours.pid) and not ours.exists(), "it is killed")
        self.assertTrue(ours.control.exists(), "the file that nobody serves is still there")
        ours.start()
        self.assertEqual(ours.show("public-key"), ["(none)"])
        self.connected(ours)
        self.assert_pings(ours.namespace, THEIRS)

    def test_two_live_beside_each_other(self) -> None:
        one, two = self.make().start(), self.make().start()
        one.configure(port=PORT)
        two.configure(port=PORT + 1)
        self.assertLessEqual({one.name, two.name}, set(one.wg("show", "interfaces").split()))
        os.kill(one.pid, signal.SIGTERM)
        one.await_end()
        self.connected(two)
        two.wg("set", two.name, "listen-port", str(PORT))
        self.assert_pings(two.namespace, THEIRS)

    def test_requests_at_once_all_count(self) -> None:
        ours = self.make().start()
        keys = [KeyPair.make().public for _ in range(12)]
        running = [subprocess.Popen(["wg", "set", ours.name, "peer", key, "allowed-ips", f"10.97.2.{i}/32"])
                   for i, key in enumerate(keys)]
        self.assertEqual([one.wait(30) for one in running], [0] * len(keys))
        self.assertEqual(sorted(ours.show("peers")), sorted(keys))


class PlainRefusals(PlainTest):
    def assert_refused(self, done: subprocess.CompletedProcess, *words: str, code: int = 1) -> None:
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_wrong_usage(self) -> None:
        ours = self.make()
        for arguments in (["-f"], [ours.name, "more"], ["-x", ours.name]):
            with self.subTest(arguments=arguments):
                self.assert_refused(ours.launch(*arguments), "sluice --help", code=2)

    def test_names_that_cannot_be(self) -> None:
        ours = self.make()
        for name in ("sixteen-letters-", "a/b", "wg%d", ".."):
            with self.subTest(name=name):
                for arguments in ([name], ["-f", name]):
                    self.assert_refused(ours.launch(*arguments), "cannot be the name of an interface")

    def test_without_the_right_to(self) -> None:
        ours = self.make()
        done = ours.launch(prefix=["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"])
        self.assert_refused(done, "CAP_NET_ADMIN")
        self.assertFalse(ours.control.exists())

    def test_names_in_use(self) -> None:
        ours = self.make().start()
        self.assert_refused(ours.launch(), ours.name, "in use by another process")
        # Sockets of all network namespaces lie in one folder.
        elsewhere = self.make(self.topology.neighbour)
        self.assert_refused(elsewhere.launch(ours.name), str(ours.control), "another WireGuard implementation")
        self.assertNotIn(ours.name, self.topology.neighbour.ip("-o", "link", "show"))
        self.assertEqual(ours.show("public-key"), ["(none)"], "the one that was there goes on")
        other = self.make()
        other.namespace.ip("link", "add", other.name, "type", "bridge")
        cleanup.later(lambda: other.namespace.ip("link", "delete", other.name))
        self.assert_refused(other.launch(), other.name, "is not a TUN device")


class PlainQuick(PlainTest):
    """wg-quick(8), which starts one program by one word."""

    def test_up_and_down_and_up_again(self) -> None:
        ours = self.make()
        probe = f"p{cleanup.unique()}"
        made = subprocess.run([*ours.namespace.prefix, "ip", "link", "add", probe, "type", "wireguard"],
                              capture_output=True, check=False)
        if made.returncode == 0:
            ours.namespace.ip("link", "delete", probe)
            self.skipTest("this kernel has WireGuard, so wg-quick starts no other implementation")
        self.make_peer(ours)
        path = self.directory / f"{ours.name}.conf"
        path.touch(mode=0o600)
        path.write_text(f"[Interface]\nPrivateKey = {ours.keys.private}\nListenPort = {PORT}\n"
                        f"Address = {OURS}/32, {OURS6}/128\nMTU = 1400\n"
                        f"[Peer]\nPublicKey = {self.client.keys.public}\nAllowedIPs = {THEIRS}/32, {THEIRS6}/128\n"
                        f"Endpoint = {Topology.CLIENT}:{CLIENT_PORT}\n")
        program = binary().with_name("sluice-wireguard")

        def quick(verb: str) -> None:
            line = [*ours.namespace.prefix, "wg-quick", verb, str(path)]
            done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False,
                                  env=ours.whole_environment(WG_QUICK_USERSPACE_IMPLEMENTATION=str(program)))
            self.assertEqual(done.returncode, 0, done.stderr)

        for _ in range(2):
            quick("up")
            ours.pid = ours.serving_pid()
            self.assert_pings(ours.namespace, THEIRS)
            self.assert_carries(ours)
            self.assertIn("mtu 1400", ours.namespace.ip("link", "show", ours.name))
            quick("down")
        ours.await_end()
