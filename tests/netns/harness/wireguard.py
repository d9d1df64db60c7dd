"""A stock WireGuard end, Debian's wireguard-go or another, configured with `wg`."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from . import cleanup, processes
from .implementations import DEBIAN_WIREGUARD_GO, Implementation
from .network import Namespace, add_address
from .waiting import until


@dataclass(frozen=True)
class KeyPair:
    private: str
    public: str

    @staticmethod
    def make() -> "KeyPair":
        return KeyPair.of(processes.run(["wg", "genkey"]).strip())

    @staticmethod
    def of(private: str) -> "KeyPair":
        return KeyPair(private, processes.run(["wg", "pubkey"], stdin=private + "\n").strip())


def make_preshared_key() -> str:
    return processes.run(["wg", "genpsk"]).strip()


@dataclass
class Peer:
    """The other side, as this one is told about it."""
    public_key: str
    allowed_ips: Sequence[str]
    endpoint: str | None = None
    preshared_key: str | None = None
    persistent_keepalive: int | None = None


def is_answered(control: Path) -> bool:
    """Whether an implementation listens there. One that has only made the file so far would lose it:
    wg(8) removes sockets that refuse it."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(control))
        except OSError:
            return False
    return True


@dataclass
class WireguardClient:
    namespace: Namespace
    directory: Path  # for its log and keys
    keys: KeyPair = field(default_factory=KeyPair.make)
    addresses: Sequence[str] = ("10.98.0.2/24", "fd98::2/64")
    listen_port: int | None = None
    mtu: int = 1420
    implementation: Implementation = DEBIAN_WIREGUARD_GO

    def __post_init__(self) -> None:
        # Its control socket lies in one folder for all network namespaces, so its name is unique.
        self.interface = f"wg{cleanup.unique()}"
        self.process: processes.Process | None = None

    def up(self, *peers: Peer) -> None:
        control = Path(f"/var/run/wireguard/{self.interface}.sock")
        cleanup.later(lambda: control.unlink(missing_ok=True))
        self.process = self.namespace.start(self.implementation.command(self.interface),
                                            self.directory / f"{self.interface}.log")
        until(lambda: is_answered(control), f"{self.implementation.name} opens {control}", 30)
        port = ["listen-port", str(self.listen_port)] if self.listen_port else []
        self.wg("set", self.interface, "private-key", self._secret("private", self.keys.private), *port)
        for peer in peers:
            self.set_peer(peer)
        for address in self.addresses:
            add_address(self.namespace, self.interface, address)
        self.namespace.ip("link", "set", self.interface, "mtu", str(self.mtu), "up")

    def set_peer(self, peer: Peer) -> None:
        if not self.implementation.changes_peers and peer.public_key in self.wg("show", self.interface, "peers"):
            self.wg("set", self.interface, "peer", peer.public_key, "remove")
        command = ["set", self.interface, "peer", peer.public_key,
                   "allowed-ips", ",".join(peer.allowed_ips)]
        if peer.endpoint is not None:
            command += ["endpoint", peer.endpoint]
        if peer.preshared_key is not None:
            command += ["preshared-key", self._secret("preshared", peer.preshared_key)]
        if peer.persistent_keepalive is not None:
            command += ["persistent-keepalive", str(peer.persistent_keepalive)]
        self.wg(*command)

    def down(self) -> None:
        """Ends it as a crash would: nothing is said to the other end. up() begins anew with the same keys."""
        assert self.process is not None
        self.process.kill()
        Path(f"/var/run/wireguard/{self.interface}.sock").unlink(missing_ok=True)
        until(lambda: self.interface not in self.namespace.ip("-o", "link"), "its interface is gone")

    def tail(self, lines: int = 20) -> str:
        """What it said last, for people."""
        return "\n".join(self.process.output().splitlines()[-lines:]) if self.process else "(it was not started)"

    def wg(self, *arguments: str) -> str:
        return self.namespace.run("wg", *arguments)

    def handshake_time(self) -> int:
        """When the last handshake was, in seconds since 1970; 0: there was none."""
        return sum(int(line.split()[1]) for line in self._show("latest-handshakes"))

    def received_bytes(self) -> int:
        return sum(int(line.split()[1]) for line in self._show("transfer"))

    def endpoint(self) -> str:
        """Where it sends to now."""
        return self._show("endpoints")[0].split()[1]

    def _show(self, what: str) -> list[str]:
        return self.wg("show", self.interface, what).splitlines()

    def _secret(self, name: str, value: str) -> str:
        path = self.directory / f"{self.interface}.{name}"
        path.touch(mode=0o600)
        path.write_text(value + "\n")
        return str(path)
