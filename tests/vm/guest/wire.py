"""What lies between the two ends: their network namespaces, the cable, and an ear on it.

    sluice  192.168.77.21, fd77::21 ── link0 ════ link0 ── 192.168.77.50, fd77::50  kernel

Inside the tunnel: Sluice 10.98.0.1 and fd98::1, the kernel's end 10.98.0.2 and fd98::2.
"""

import functools
import socket
import struct
from dataclasses import dataclass

from harness import processes
from harness.network import Namespace, Topology

LINK = "link0"
LINK_MTU = 1500

SLUICE = {4: Topology.NODE, 6: Topology.NODE6}
KERNEL = {4: Topology.CLIENT, 6: Topology.CLIENT6}
SLUICE_INNER = {4: Topology.NODE_INNER, 6: Topology.NODE_INNER6}
KERNEL_INNER = {4: Topology.CLIENT_INNER, 6: Topology.CLIENT_INNER6}

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4


class Wire:
    def __init__(self) -> None:
        # The names are of those that the harness knows; in here nobody else has any.
        self.sluice = Namespace("node", "vm")
        self.kernel = Namespace("client", "vm")
        processes.run(["ip", "link", "add", "name", LINK, "netns", self.sluice.name, "type", "veth",
                       "peer", "name", LINK, "netns", self.kernel.name])
        for namespace, addresses in ((self.sluice, SLUICE), (self.kernel, KERNEL)):
            ip(namespace, f"link set {LINK} mtu {LINK_MTU} up",
               f"address add {addresses[4]}/24 dev {LINK}", f"address add {addresses[6]}/64 dev {LINK} nodad")
            # An address that goes must not take with it another that came later.
            namespace.set_kernel("ipv4/conf/all/promote_secondaries", 1)
            # Whoever may run `ping` as an ordinary user may open its kind of socket; here, everybody.
            with namespace.entered(), open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
                file.write("0 2147483647")


@functools.cache
def the_wire() -> Wire:
    """One for all tests: a namespace takes long to make in a machine without hardware."""
    return Wire()


def ip(namespace: Namespace, *commands: str) -> None:
    """Commands of ip(8), all in one process."""
    with namespace.entered():
        processes.run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


@dataclass(frozen=True)
class Outer:
    """A datagram between the ends, as it is on the wire."""
    sender: str    # "sluice" or "kernel"
    family: int    # 4 or 6
    source: str
    tos: int       # DSCP and ECN
    dont_fragment: bool
    payload: bytes

    @property
    def type(self) -> int:
        return self.payload[0]


class Ear:
    """Hears every UDP datagram on the cable from now on."""

    def __init__(self) -> None:
        every_protocol = socket.htons(3)
        with the_wire().kernel.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, every_protocol)
        # More than any test sends while nobody listens.
        so_rcvbufforce = 33
        self._socket.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 64 << 20)
        self._socket.bind((LINK, 3))
        self._socket.setblocking(False)
        self._heard: list[Outer] = []

    def close(self) -> None:
        self._socket.close()

    def heard(self, sender: str | None = None, kind: int | None = None) -> list[Outer]:
        """All so far; of one end, or of one type of message."""
        try:
            while True:
                frame, (_, _, packet_type, _, _) = self._socket.recvfrom(1 << 17)
                heard = _parse(frame[14:], "kernel" if packet_type == socket.PACKET_OUTGOING else "sluice")
                if heard is not None:
                    self._heard.append(heard)
        except BlockingIOError:
            pass
        return [outer for outer in self._heard
                if sender in (None, outer.sender) and kind in (None, outer.payload[:1][0] if outer.payload else -1)]


def _parse(packet: bytes, sender: str) -> Outer | None:
    version = packet[0] >> 4
    if version == 4:
        header, protocol, tos = (packet[0] & 15) * 4, packet[9], packet[1]
        source = socket.inet_ntop(socket.AF_INET, packet[12:16])
        (fragment,) = struct.unpack_from("!H", packet, 6)
    elif version == 6:
        header, protocol, fragment = 40, packet[6], 0x4000
        tos = (struct.unpack_from("!H", packet)[0] >> 4) & 0xFF
        source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
    else:
        return None
    if protocol != socket.IPPROTO_UDP or fragment & 0x1FFF:
        return None
    (length,) = struct.unpack_from("!H", packet, header + 4)
    return Outer(sender, version, source, tos, bool(fragment & 0x4000), packet[header + 8:header + length])
