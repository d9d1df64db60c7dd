"""Packets through the tunnel, sent and checked by the test itself."""

import hashlib
import os
import socket
import struct
import threading
import time

from harness.network import Namespace, family_of
from harness.payload import Payload

from ends import PATIENCE

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2
HEADERS = {4: 20 + 8, 6: 40 + 8}  # of an echo request, and of UDP


class Pinger:
    """Echo requests out of a namespace; every byte of every answer is compared."""

    def __init__(self, namespace: Namespace, address: str):
        self.family = 6 if ":" in address else 4
        protocol = socket.IPPROTO_ICMPV6 if self.family == 6 else socket.IPPROTO_ICMP
        with namespace.entered():
            self._socket = socket.socket(family_of(address), socket.SOCK_DGRAM, protocol)
        self._socket.connect((address, 0))
        self._sequence, self._body = 0, b""

    def __enter__(self) -> "Pinger":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def never_fragment(self) -> None:
        level, option = ((socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER) if self.family == 6
                         else (socket.IPPROTO_IP, _IP_MTU_DISCOVER))
        self._socket.setsockopt(level, option, _PMTUDISC_DO)

    def ping(self, size: int = 56, seconds: float = PATIENCE) -> bool:
        """Whether a request with so many bytes is answered in time, and not with an error. It is sent once."""
        try:
            self.send(size)
            return self.answered(seconds)
        except OSError:
            return False

    def send(self, size: int) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._body = os.urandom(size)
        request = 128 if self.family == 6 else 8
        self._socket.send(struct.pack("!BBHHH", request, 0, 0, 0, self._sequence) + self._body)

    def answered(self, seconds: float) -> bool:
        """Whether what was sent last is answered in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                answer = self._socket.recv(65536)
            except TimeoutError:
                return False
            (sequence,) = struct.unpack_from("!H", answer, 6)
            if sequence == self._sequence:  # and not one that was given up before
                assert answer[8:] == self._body, f"an answer of {len(self._body)} bytes came back changed"
                return True
        return False


def ping(namespace: Namespace, address: str, *sizes: int) -> None:
    """Fails unless a request of each size is answered."""
    with Pinger(namespace, address) as pinger:
        for size in sizes or (56,):
            assert pinger.ping(size), f"no answer to {size} bytes from {address} within {PATIENCE:g} s"


class Connection:
    """A TCP connection between the namespaces, both ends held by the test."""

    def __init__(self, source: Namespace, target: Namespace, address: str):
        with target.entered():
            listener = socket.create_server((address, 0), family=family_of(address))
        with listener:
            self._out = source.connect(address, listener.getsockname()[1], seconds=PATIENCE)
            listener.settimeout(PATIENCE)
            self._in, _ = listener.accept()
        self._in.settimeout(PATIENCE)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for end in (self._out, self._in):
            # At once and with nothing left: an end that said farewell again and again would begin the next test's
            # handshake.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def carry(self, payload: Payload) -> None:
        """Sends all of it, and fails unless exactly that arrives."""
        sender = threading.Thread(target=self._send, args=(payload,), daemon=True)
        sender.start()
        digest, left = hashlib.sha256(), payload.size
        while left:
            some = self._in.recv(min(left, 1 << 18))
            assert some, f"the connection ended {left} bytes too early"
            digest.update(some)
            left -= len(some)
        sender.join(PATIENCE)
        assert digest.hexdigest() == payload.sha256(), f"{payload.size} bytes arrived, but not those that were sent"

    def _send(self, payload: Payload) -> None:
        for chunk in payload.chunks():
            self._out.sendall(chunk)


class Datagrams:
    """UDP between the namespaces, with a say in its DSCP and ECN."""

    def __init__(self, source: Namespace, target: Namespace, address: str):
        self._family = 6 if ":" in address else 4
        with target.entered():
            self._in = socket.socket(family_of(address), socket.SOCK_DGRAM)
        with source.entered():
            self._out = socket.socket(family_of(address), socket.SOCK_DGRAM)
        self._in.bind((address, 0))
        self._in.settimeout(PATIENCE)
        ip_recvtos = 13
        if self._family == 6:
            self._in.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            self._in.setsockopt(socket.IPPROTO_IP, ip_recvtos, 1)
        self._out.connect(self._in.getsockname()[:2])

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()
        self._in.close()

    def send_only(self, body: bytes) -> None:
        """Sends one that need not arrive."""
        self._out.send(body)

    def send(self, body: bytes, tos: int = 0) -> int:
        """Sends one, waits until it has arrived, and returns the DSCP and ECN that it arrived with."""
        if self._family == 6:
            self._out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        else:
            self._out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        self._out.send(body)
        received, ancillary, _, _ = self._in.recvmsg(65536, 256)
        assert received == body, f"{len(body)} bytes arrived changed"
        (_, _, value), *_ = ancillary
        return value[0]
