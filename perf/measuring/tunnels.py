"""WireGuard programs, started alike, and the stage on which they are measured.

    client namespace                                node namespace
    load ─ TUN ─ [ client program ] ── UDP, veth ── [ program that is measured ] ─ TUN ─ load

The client program is the same for all that are measured, and started anew for each.
"""

import base64
import ipaddress
import json
import os
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

from harness import cleanup, network, processes
from harness.network import Namespace
from harness.waiting import until
from harness.wireguard import KeyPair

from . import machine

NODE, CLIENT = "192.168.77.21", "192.168.77.50"
NODE_INNER, CLIENT_INNER = "10.98.0.1", "10.98.0.2"
PORT = 41621
MTU = 1420

# Where the devices of a large network call from: addresses of the client's own, as many as it needs.
MANY_SOURCES, FIRST_SOURCE = "172.20.0.0/14", "172.20.0.1"
MANY_PORT = 41700

_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Program:
    """Something that is started as user-space implementations are by convention: PROGRAM -f INTERFACE."""

    name: str
    path: Path
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    built_version: str = ""  # when it is known better than the program does
    version_word: str = "--version"

    def start(self, tunnel: "Tunnel") -> processes.Process:
        return tunnel.namespace.start([str(self.path), *self.arguments, "-f", tunnel.interface], tunnel.log,
                                      environment={**os.environ, **self.environment})

    def version(self) -> str:
        return self.built_version or machine.version_of([str(self.path), self.version_word])


class Tunnel:
    """One end: a program that runs, with an interface that is configured by wg and ip."""

    def __init__(self, program: Program, namespace: Namespace, folder: Path, keys: KeyPair, inner: str,
                 port: int):
        self.program, self.namespace, self.folder, self.keys = program, namespace, folder, keys
        self.inner, self.port = inner, port
        # Its control socket lies in one folder for all network namespaces, so its name is unique.
        self.interface = f"wg{cleanup.unique()}"
        self.log = folder / f"{self.interface}.log"
        self._control = Path(f"/var/run/wireguard/{self.interface}.sock")
        cleanup.later(lambda: self._control.unlink(missing_ok=True))
        self.process = program.start(self)
        until(self._is_up, f"{program.name} opens {self._control}: {self.words()}", 20)

    def _is_up(self) -> bool:
        if self.process.exit_code() is not None:
            raise AssertionError(f"{self.program.name} ended with {self.process.exit_code()}: {self.words()}")
        return self._control.exists()

    @property
    def pid(self) -> int:
        return self.process.pid

    def configure(self, peers: str) -> None:
        file = self.folder / f"{self.interface}.conf"
        file.touch(mode=0o600)
        file.write_text(f"[Interface]\nPrivateKey = {self.keys.private}\nListenPort = {self.port}\n\n{peers}")
        self.namespace.run("wg", "setconf", self.interface, str(file), seconds=120)
        self.namespace.ip("address", "replace", f"{self.inner}/24", "dev", self.interface)
        self.namespace.ip("link", "set", self.interface, "mtu", str(MTU), "up")

    def words(self) -> str:
        """What it said last, for people who ask why it failed."""
        return self.process.output()[-1500:]

    def stop(self) -> None:
        self.process.end()
        self._control.unlink(missing_ok=True)


def peer(public_key: str, allowed: str, endpoint: str | None = None) -> str:
    words = f"[Peer]\nPublicKey = {public_key}\nAllowedIPs = {allowed}\n"
    return words + (f"Endpoint = {endpoint}\n" if endpoint else "") + "\n"


@dataclass
class Stage:
    folder: Path
    node: Namespace
    client: Namespace
    load: Path  # the tunnel_load program
    node_keys: KeyPair
    client_keys: KeyPair

    @staticmethod
    def build(load: Path) -> "Stage":
        network.remove_orphans()
        # One socket for each of many peers is some programs' way.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        folder = Path(tempfile.mkdtemp(prefix=f"sluice-perf-{os.getpid()}-", dir=_MEMORY))
        cleanup.later(lambda: shutil.rmtree(folder))
        serial = cleanup.unique()
        node, client = Namespace("node", serial), Namespace("client", serial)
        processes.run(["ip", "link", "add", "name", "outer", "netns", node.name, "type", "veth",
                       "peer", "name", "outer", "netns", client.name])
        for namespace, address in ((node, NODE), (client, CLIENT)):
            namespace.ip("address", "add", f"{address}/24", "dev", "outer")
            namespace.ip("link", "set", "outer", "up")
        node.ip("route", "add", MANY_SOURCES, "via", CLIENT)
        client.ip("route", "add", "local", MANY_SOURCES, "dev", "lo")
        return Stage(folder, node, client, load, KeyPair.make(), KeyPair.make())

    def copy_of(self, program: Path) -> Path:
        """All runs are of one copy, so that a build that goes on beside does not change what is measured."""
        copy = self.folder / program.name
        shutil.copy2(program, copy)
        return copy

    def node_tunnel(self, program: Program) -> Tunnel:
        return Tunnel(program, self.node, self.folder, self.node_keys, NODE_INNER, PORT)

    def client_tunnel(self, program: Program) -> Tunnel:
        tunnel = Tunnel(program, self.client, self.folder, self.client_keys, CLIENT_INNER, PORT)
        tunnel.configure(peer(self.node_keys.public, f"{NODE_INNER}/32", f"{NODE}:{PORT}"))
        return tunnel

    def client_as_peer(self) -> str:
        # With its endpoint: Tailscale's fork learns none from what it receives.
        return peer(self.client_keys.public, f"{CLIENT_INNER}/32", f"{CLIENT}:{PORT}")

    def generate(self, *words: object, seconds: float = 60) -> dict:
        """One run of tunnel_load; what it says."""
        return json.loads(processes.run([str(self.load), *map(str, words)], seconds=seconds))

    def many_peers(self, seed: int, count: int) -> str:
        """The configuration of a large network; `tunnel_load handshakes` knows its private keys."""
        keys = self.generate("keys", "--seed", seed, "--count", count)
        inner, outer = ipaddress.IPv4Address("10.100.0.1"), ipaddress.IPv4Address(FIRST_SOURCE)
        return "".join(peer(base64.b64encode(bytes.fromhex(key)).decode(), f"{inner + number}/32",
                            f"{outer + number}:{MANY_PORT}") for number, key in enumerate(keys))


# name → (its name in scripts/peers or in the path, arguments)
_PEERS = {
    "wireguard-go": ("wireguard-go", ()),
    "tailscale": ("tailscale-wireguard-go", ()),
    "boringtun": ("boringtun-cli", ("--disable-drop-privileges",)),
    "gotatun": ("gotatun-cli", ("--disable-drop-privileges",)),
}
DEBIAN = "wireguard-go-2022"
SLUICES = tuple(f"sluice{engine}{workers}" for engine in ("", "-epoll", "-io_uring") for workers in ("", "-1", "-2"))
NAMES = (*_PEERS, DEBIAN, *SLUICES)


def program_named(name: str, sluice: Path) -> Program | str:
    """The program, or why it cannot be had."""
    if name in SLUICES:
        _, *words = name.split("-")
        environment = {}
        if words and words[-1].isdigit():
            environment["SLUICE_WORKERS"] = words.pop()
        if words:
            environment["SLUICE_ENGINE"] = words[0]
        return Program(name, sluice, ["wireguard"], environment, version_word="version")
    if name == DEBIAN:
        found = shutil.which("wireguard-go")
        return Program(name, Path(found)) if found else "there is no wireguard-go in the path"
    known_as, arguments = _PEERS[name]
    done = subprocess.run([str(machine.TREE / "scripts/peers"), "--path", known_as], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        return done.stderr.strip()
    path = Path(done.stdout.strip())
    return Program(name, path, arguments, built_version=path.parent.name.removeprefix(f"{known_as}-"))
