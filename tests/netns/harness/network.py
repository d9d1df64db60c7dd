"""The network of a test: namespaces, a bridge, and a link to the backends, all of its own.

     client ───┐
               ├─ bridge (192.168.77.0/24, fd77::/64) ── node ── 192.168.78.0/24, fd78::/64 ── backend
  neighbour ───┘

Inside the tunnel: node 10.98.0.1 and fd98::1, client 10.98.0.2 and fd98::2.
"""

import contextlib
import ctypes
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Callable, Iterator, Sequence

from . import cleanup, processes

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


class Namespace:
    """A network namespace with a name, as `ip netns` makes them."""

    def __init__(self, role: str, serial: str):
        self.name = f"sluice-{role}-{serial}"
        processes.run(["ip", "netns", "add", self.name])
        cleanup.later(self._remove)
        self.ip("link", "set", "lo", "up")
        # What would keep forged packets and new addresses from working at once, in any direction.
        self.set_kernel("ipv4/conf/all/rp_filter", 0)
        self.set_kernel("ipv4/conf/default/rp_filter", 0)
        self.set_kernel("ipv6/conf/default/accept_dad", 0)
        self.set_kernel("ipv6/conf/default/accept_ra", 0)

    @property
    def prefix(self) -> list[str]:
        """What runs a command in here; the command takes the place of `ip`, so the pid is its own."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *command: str, stdin: str | None = None, seconds: float = 60) -> str:
        return processes.run([*self.prefix, *command], stdin=stdin, seconds=seconds)

    def ip(self, *arguments: str) -> str:
        return processes.run(["ip", "-n", self.name, *arguments])

    def popen(self, command: Sequence[str], **options) -> subprocess.Popen:
        return subprocess.Popen([*self.prefix, *command], **options)

    def start(self, command: Sequence[str], log: Path, **options) -> processes.Process:
        return processes.Process(command, log, prefix=self.prefix, **options)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in here: sockets that it makes belong here for good."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def make_socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind)

    def connect(self, address: str, port: int, *, source: str | None = None,
                seconds: float = 10) -> socket.socket:
        """A TCP connection out of here."""
        opened = self.make_socket(family=family_of(address))
        try:
            opened.settimeout(seconds)
            if source is not None:
                opened.bind((source, 0))
            opened.connect((address, port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            opened.close()
            raise
        return opened

    def set_kernel(self, key: str, value: int) -> None:
        with self.entered():
            Path("/proc/sys/net", key).write_text(str(value))

    def _remove(self) -> None:
        processes.run(["ip", "netns", "delete", self.name])


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def authority(address: str, port: int) -> str:
    """ADDRESS:PORT as URLs and configurations have it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Topology:
    NODE, NODE6 = "192.168.77.21", "fd77::21"
    CLIENT, CLIENT6 = "192.168.77.50", "fd77::50"
    NEIGHBOUR, NEIGHBOUR6 = "192.168.77.66", "fd77::66"
    BACKEND, BACKEND6 = "192.168.78.2", "fd78::2"
    WIREGUARD_PORT = 41621  # 41600 + the last octet of NODE

    NODE_INNER, NODE_INNER6 = "10.98.0.1", "fd98::1"
    CLIENT_INNER, CLIENT_INNER6 = "10.98.0.2", "fd98::2"

    def __init__(self) -> None:
        remove_orphans()
        self.serial = cleanup.unique()
        self.lan = Namespace("lan", self.serial)
        self.lan.ip("link", "add", "bridge", "type", "bridge")
        self.lan.ip("link", "set", "bridge", "up")
        self.node = self.attach("node", self.NODE, self.NODE6)
        self.client = self.attach("client", self.CLIENT, self.CLIENT6)
        self.neighbour = self.attach("neighbour", self.NEIGHBOUR, self.NEIGHBOUR6)
        self.backend = Namespace("backend", self.serial)
        _link(self.node, "backend0", self.backend, "node0")
        _configure(self.node, "backend0", "192.168.78.1/24", "fd78::1/64")
        _configure(self.backend, "node0", f"{self.BACKEND}/24", f"{self.BACKEND6}/64")

    def attach(self, role: str, address: str, address6: str) -> Namespace:
        """One more machine on the bridge."""
        namespace = Namespace(role, self.serial)
        _link(namespace, "lan0", self.lan, role)
        self.lan.ip("link", "set", role, "master", "bridge", "up")
        _configure(namespace, "lan0", f"{address}/24", f"{address6}/64")
        return namespace

    def set_mtu(self, mtu: int, *roles: str) -> None:
        """Both ends of the links of these machines to the bridge."""
        for role in roles:
            self.lan.ip("link", "set", role, "mtu", str(mtu))
            getattr(self, role).ip("link", "set", "lan0", "mtu", str(mtu))


def _link(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    processes.run(["ip", "link", "add", "name", left_name, "netns", left.name, "type", "veth",
                   "peer", "name", right_name, "netns", right.name])


def _configure(namespace: Namespace, interface: str, *addresses: str) -> None:
    namespace.ip("link", "set", interface, "up")
    for address in addresses:
        add_address(namespace, interface, address)


class HomeNetwork:
    """A machine behind a router on the bridge that lends it its own address, as those at home do.

        home 192.168.79.2 ── 192.168.79.1 router 192.168.77.80 ── the bridge
    """
    ROUTER, ROUTER6 = "192.168.77.80", "fd77::80"

    def __init__(self, topology: Topology):
        self.router = topology.attach("router", self.ROUTER, self.ROUTER6)
        # A namespace's end takes its links away some time later, and the next one has the same names.
        cleanup.later(lambda: self.router.ip("link", "delete", "lan0"))
        self.home = Namespace("home", topology.serial)
        _link(self.router, "home0", self.home, "lan0")
        _configure(self.router, "home0", "192.168.79.1/24")
        _configure(self.home, "lan0", "192.168.79.2/24")
        self.home.ip("route", "add", "default", "via", "192.168.79.1")
        self.router.set_kernel("ipv4/ip_forward", 1)

    def lend_ports(self, first: int, last: int) -> None:
        """The router's source ports are these from now on. What it lent before it forgets."""
        self.router.run("nft", "-f", "-", stdin=f"""
            table ip home {{}}
            delete table ip home
            table ip home {{
                chain out {{
                    type nat hook postrouting priority srcnat
                    oifname "lan0" meta l4proto udp masquerade to :{first}-{last}
                }}
            }}""")
        # What was lent on an interface is forgotten when that goes down.
        self.router.ip("link", "set", "lan0", "down")
        self.router.ip("link", "set", "lan0", "up")


def add_address(namespace: Namespace, interface: str, address: str) -> None:
    # Without nodad a new IPv6 address could not be used for a second.
    flags = ["nodad"] if ":" in address else []
    namespace.ip("address", "add", address, "dev", interface, *flags)


def steer(namespace: Namespace, prefix: str, via: str, interface: str) -> Callable[[], None]:
    """Sends everything for `prefix` that way, whatever routes there are. The result undoes it."""
    family = "-6" if ":" in prefix else "-4"
    table = "7777"  # Linux keeps 253 to 255 for itself
    route = ["to", prefix, "lookup", table, "priority", "100"]
    namespace.ip(family, "route", "add", prefix, "via", via, "dev", interface, "table", table)
    namespace.ip(family, "rule", "add", *route)

    def undo() -> None:
        namespace.ip(family, "rule", "delete", *route)
        namespace.ip(family, "route", "delete", prefix, "table", table)

    return undo


def remove_orphans() -> None:
    """Removes namespaces of programs that were killed before they could."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        found = re.fullmatch(r"sluice-(?:lan|node|client|neighbour|backend|router|home)-(\d+)(?:-\d+)?", name)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
