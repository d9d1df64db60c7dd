"""`sluice wireguard`: a plain interface, started and configured as any user-space implementation."""

import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Mapping, Sequence

from . import cleanup, processes
from .network import Namespace, add_address
from .node import binary
from .waiting import until
from .wireguard import KeyPair, Peer

SOCKETS = Path("/var/run/wireguard")


def is_alive(pid: int) -> bool:
    """Whether the process still holds anything; one that only waits for its parent to notice does not."""
    try:
        is_zombie = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        # The first thread is a zombie before the others have let go.
        return not is_zombie or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


class PlainInterface:
    """One interface. It lives in `namespace` until move(); its UDP socket stays where it was started."""

    def __init__(self, namespace: Namespace, directory: Path, *, environment: Mapping[str, str] | None = None):
        self.namespace = namespace
        self.directory = directory
        self.environment = dict(environment or {})
        self.keys = KeyPair.make()
        self.name = f"sw{cleanup.unique()}"
        self.control = SOCKETS / f"{self.name}.sock"
        self.pid = 0
        cleanup.later(self._remove)

    def whole_environment(self, **more: str) -> dict[str, str]:
        """The test's own, without what would change the program, and with what shall."""
        ours = {name: value for name, value in os.environ.items()
                if name != "LOG_LEVEL" and not name.startswith(("WG_", "SLUICE_"))}
        return {**ours, **self.environment, **more}

    def launch(self, *arguments: str, pass_fds: Sequence[int] = (), prefix: Sequence[str] = (),
               seconds: float = 30) -> subprocess.CompletedProcess:
        """The program, until its first process returns."""
        line = [*self.namespace.prefix, *prefix, str(binary()), "wireguard", *(arguments or [self.name])]
        return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, pass_fds=pass_fds,
                              env=self.whole_environment())

    def start(self, *, pass_fds: Sequence[int] = (), argument: str | None = None) -> "PlainInterface":
        """In the background, as by convention: when this returns it can be used."""
        done = self.launch(argument or self.name, pass_fds=pass_fds)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
        self.pid = self.serving_pid()
        return self

    def start_in_foreground(self) -> processes.Process:
        process = self.namespace.start([str(binary()), "wireguard", "-f", self.name],
                                       self.directory / f"{self.name}.log",
                                       environment=self.whole_environment())

        def there() -> bool:
            assert process.exit_code() is None, process.output()
            return self.control.exists()

        until(there, f"{self.control} is there", 30)
        self.pid = process.pid
        return process

    def serving_pid(self) -> int:
        """Who listens at the interface's socket."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(self.control))
            return struct.unpack("iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def configure(self, *peers: Peer, port: int | None = None) -> None:
        port_words = ["listen-port", str(port)] if port else []
        self.wg("set", self.name, "private-key", self.secret("private", self.keys.private), *port_words)
        for peer in peers:
            self.set_peer(peer)

    def set_peer(self, peer: Peer) -> None:
        command = ["set", self.name, "peer", peer.public_key, "allowed-ips", ",".join(peer.allowed_ips)]
        if peer.endpoint is not None:
            command += ["endpoint", peer.endpoint]
        if peer.persistent_keepalive is not None:
            command += ["persistent-keepalive", str(peer.persistent_keepalive)]
        self.wg(*command)

    def up(self, *addresses: str, mtu: int | None = None) -> None:
        # Nothing but what a test sends shall be counted.
        self.namespace.set_kernel(f"ipv6/conf/{self.name}/router_solicitations", 0)
        for address in addresses:
            add_address(self.namespace, self.name, address)
        self.namespace.ip("link", "set", self.name, *(["mtu", str(mtu)] if mtu else []), "up")

    def move(self, to: Namespace) -> None:
        self.namespace.ip("link", "set", self.name, "netns", to.name)
        self.namespace = to

    def wg(self, *arguments: str, stdin: str | None = None) -> str:
        return processes.run(["wg", *arguments], stdin=stdin)

    def show(self, what: str) -> list[str]:
        return self.wg("show", self.name, what).splitlines()

    def sent_bytes(self) -> int:
        return sum(int(line.split()[2]) for line in self.show("transfer"))

    def exists(self) -> bool:
        return f" {self.name}:" in self.namespace.ip("-o", "link", "show").replace("@", ":")

    def await_end(self, seconds: float = 20) -> None:
        """Fails unless process, interface and socket all go."""
        until(lambda: not is_alive(self.pid), f"the process of {self.name} ends", seconds)
        until(lambda: not self.exists(), f"the interface {self.name} goes", seconds)
        assert not self.control.exists(), f"{self.control} was left behind"

    def secret(self, name: str, value: str) -> str:
        path = self.directory / f"{self.name}.{name}"
        path.touch(mode=0o600)
        path.write_text(value + "\n")
        return str(path)

    def _remove(self) -> None:
        pids = {self.pid}
        try:
            pids.add(self.serving_pid())
        except OSError:
            pass
        for pid in pids - {0}:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
                until(lambda: not is_alive(pid), f"process {pid} is killed")
        self.control.unlink(missing_ok=True)
