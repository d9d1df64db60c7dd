"""What goes over a link: every UDP datagram that an interface of a namespace sees, in both directions."""

import socket
import struct
import threading
from dataclasses import dataclass

from . import cleanup
from .network import Namespace

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_ETH_P_ALL, _ETH_P_NOBODY = 3, 0x88B5  # the second is reserved for experiments
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True)
class Datagram:
    outgoing: bool
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes


class Recorder:
    """From the moment that it is made until stop(). Fragments are left out, except first ones, cut as they are."""

    def __init__(self, namespace: Namespace, interface: str):
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        cleanup.later(self._socket.close)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._interface = interface
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.settimeout(0.05)
        self._ending = threading.Event()
        self.datagrams: list[Datagram] = []
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def sent_to(self, port: int) -> list[Datagram]:
        return [datagram for datagram in list(self.datagrams) if datagram.destination_port == port]

    def sent_from(self, port: int) -> list[Datagram]:
        return [datagram for datagram in list(self.datagrams) if datagram.source_port == port]

    def stop(self) -> None:
        """Everything that was seen until now is in `datagrams`."""
        self._socket.bind((self._interface, _ETH_P_NOBODY))  # what waits can still be read, and nothing joins it
        self._ending.set()
        self._thread.join()

    def missed(self) -> int:
        """How many the kernel could not keep for us since the last call."""
        return struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]

    def _record(self) -> None:
        while True:
            try:
                packet, (_, _, kind, _, _) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                if self._ending.is_set():
                    return
                continue
            except OSError:
                return  # closed
            found = _datagram_in(packet, kind == socket.PACKET_OUTGOING)
            if found is not None:
                self.datagrams.append(found)


def _datagram_in(packet: bytes, outgoing: bool) -> Datagram | None:
    if len(packet) < 28:
        return None
    if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP:
        if struct.unpack_from(">H", packet, 6)[0] & 0x1FFF:
            return None
        at, family, source, destination = packet[0] % 16 * 4, socket.AF_INET, packet[12:16], packet[16:20]
    elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_UDP and len(packet) >= 48:
        at, family, source, destination = 40, socket.AF_INET6, packet[8:24], packet[24:40]
    else:
        return None
    source_port, destination_port, length, _ = struct.unpack_from(">HHHH", packet, at)
    return Datagram(outgoing, socket.inet_ntop(family, source), source_port, socket.inet_ntop(family, destination),
                    destination_port, packet[at + 8: at + max(length, 8)])
