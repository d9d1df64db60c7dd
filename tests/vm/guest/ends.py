"""The two ends of a tunnel: Sluice, and the kernel's own WireGuard. Both are asked and told with the stock wg(8)."""

import functools
import itertools
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from harness import cleanup, processes
from harness.network import Namespace, Topology
from harness.node import Node, binary
from harness.processes import Process
from harness.waiting import until
from harness.wireguard import KeyPair, Peer

from wire import KERNEL_INNER, SLUICE_INNER, ip, the_wire

KERNEL_PORT = 51820
SLUICE_PORT = Topology.WIREGUARD_PORT
MTU = 1420

# Everything takes long here, and longer while the machine outside is busy.
PATIENCE = float(os.environ.get("SLUICE_VM_PATIENCE", 60))

_serials = itertools.count(1)


@dataclass(frozen=True)
class Shown:
    """What `wg show` says of the only peer."""
    endpoint: str
    handshake: int  # seconds since 1970; 0: none yet
    received: int   # bytes, with WireGuard's own
    sent: int


@functools.cache
def _keys(end: str) -> KeyPair:
    """The same for all tests, because programs take long to start in here."""
    del end
    return KeyPair.make()


class End:
    namespace: Namespace
    interface: str
    keys: KeyPair

    def wg(self, *arguments: str) -> str:
        with self.namespace.entered():
            return processes.run(["wg", *arguments])

    def show(self) -> Shown:
        _, peer = self.wg("show", self.interface, "dump").splitlines()
        _, _, endpoint, _, handshake, received, sent, _ = peer.split("\t")
        return Shown(endpoint, int(handshake), int(received), int(sent))

    def set(self, *arguments: str) -> None:
        self.wg("set", self.interface, *arguments)

    def configure(self, port: int, peers: Sequence[Peer]) -> None:
        self.set("private-key", secret(self.keys.private), "listen-port", str(port),
                 *(argument for peer in peers for argument in _as_arguments(peer)))

    def set_peer(self, peer: Peer) -> None:
        self.set(*_as_arguments(peer))

    def remove_peer(self, public_key: str) -> None:
        self.set("peer", public_key, "remove")


def _as_arguments(peer: Peer) -> list[str]:
    command = ["peer", peer.public_key, "allowed-ips", ",".join(peer.allowed_ips)]
    if peer.endpoint is not None:
        command += ["endpoint", peer.endpoint]
    if peer.preshared_key is not None:
        command += ["preshared-key", secret(peer.preshared_key)]
    if peer.persistent_keepalive is not None:
        command += ["persistent-keepalive", str(peer.persistent_keepalive)]
    return command


class KernelEnd(End):
    """An interface of the kernel's WireGuard."""

    interface = "wg0"

    def __init__(self) -> None:
        self.namespace = the_wire().kernel
        self.keys = _keys("kernel")

    def make(self, *peers: Peer) -> None:
        ip(self.namespace, f"link add {self.interface} type wireguard")
        cleanup.later(self._remove_if_there)
        self.configure(KERNEL_PORT, peers)
        ip(self.namespace, f"address add {KERNEL_INNER[4]}/24 dev {self.interface}",
           f"address add {KERNEL_INNER[6]}/64 dev {self.interface} nodad",
           f"link set {self.interface} mtu {MTU} up")

    def remove(self) -> None:
        ip(self.namespace, f"link delete {self.interface}")

    def _remove_if_there(self) -> None:
        with self.namespace.entered():
            there = {name for _, name in socket.if_nameindex()}
        if self.interface in there:
            self.remove()


class SluiceEnd(End):
    """`sluice run` with nothing but a tunnel."""

    def __init__(self, engine: str, workers: int = 2) -> None:
        self.namespace = the_wire().sluice
        self.interface = f"sl{next(_serials)}"
        self.keys = _keys("sluice")
        self.node = Node(self.namespace, Path("/tmp"), {
            "node": {"name": "node-21", "ip": Topology.NODE, "state_dir": "/tmp", "workers": workers},
            "io": {"engine": engine},
            "wireguard": {
                "interface": self.interface,
                "private_key_file": secret(self.keys.private),
                "addresses": [f"{SLUICE_INNER[4]}/24", f"{SLUICE_INNER[6]}/64"],
                "mtu": MTU,
                "peers": [],
            },
        })

    def start(self, *peers: Peer) -> None:
        self.node.document["wireguard"]["peers"] = [_as_table(peer) for peer in peers]
        self.node.start(PATIENCE)
        # It answers before its workers know the peers.
        until(lambda: self.node.status()["state"] == "serving", "every worker serves", PATIENCE)

    def kill(self) -> None:
        self.node.kill()

    def stop(self) -> None:
        """Ends it in order; fails if it was not a clean end."""
        self.node.stop(by=signal.SIGTERM, seconds=PATIENCE)

    def drops(self) -> dict[str, int]:
        """What it refused so far, by reason."""
        return {reason: count for reason, count in self.node.status()["drops"].items() if count}

    def tail(self) -> str:
        return self.node.tail()


class PlainSluiceEnd(End):
    """`sluice wireguard -f INTERFACE`: nothing but the interface, made ready with `wg` and `ip` as any other."""

    def __init__(self) -> None:
        self.namespace = the_wire().sluice
        self.interface = f"sl{next(_serials)}"
        self.keys = _keys("sluice")
        self._log = Path(f"/tmp/{self.interface}.log")
        self._process: Process | None = None

    def start(self, *peers: Peer) -> None:
        control = Path(f"/var/run/wireguard/{self.interface}.sock")
        self._process = self.namespace.start([str(binary()), "wireguard", "-f", self.interface], self._log)

        def ready() -> bool:
            if self._process.exit_code() is not None:
                raise AssertionError(f"it ended at once:\n{self.tail()}")
            return control.exists()

        until(ready, f"{control} is there", PATIENCE)
        self.configure(SLUICE_PORT, peers)
        ip(self.namespace, f"address add {SLUICE_INNER[4]}/24 dev {self.interface}",
           f"address add {SLUICE_INNER[6]}/64 dev {self.interface} nodad",
           f"link set {self.interface} mtu {MTU} up")

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        # As tools end a user-space implementation: they delete its interface.
        ip(self.namespace, f"link delete {self.interface}")
        code = self._process.wait(PATIENCE)
        assert code == 0, f"it ended with {code}:\n{self.tail()}"

    def tail(self) -> str:
        return self._process.output() if self._process else "(it was not started)"


def _as_table(peer: Peer) -> dict[str, object]:
    table: dict[str, object] = {"name": "kernel", "public_key": peer.public_key, "allowed_ips": list(peer.allowed_ips)}
    if peer.endpoint is not None:
        table["endpoint"] = peer.endpoint
    if peer.preshared_key is not None:
        table["preshared_key_file"] = secret(peer.preshared_key)
    if peer.persistent_keepalive is not None:
        table["persistent_keepalive"] = peer.persistent_keepalive
    return table


def secret(value: str) -> str:
    """A file that holds a key, for programs that take keys from nowhere else."""
    path = Path(f"/tmp/secret-{next(_serials)}")
    path.touch(mode=0o600)
    path.write_text(value + "\n")
    return str(path)


def inner_networks(addresses: dict[int, str]) -> Sequence[str]:
    return [f"{addresses[4]}/32", f"{addresses[6]}/128"]
