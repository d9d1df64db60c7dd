"""HTTP/2 by hand: frames as bytes, right or wrong, and a client that says what came back.

Header blocks are written without tables and without Huffman coding, so that a block means the same wherever it
stands. What comes back is decoded with Debian's python3-hpack.
"""

import socket
import struct
from dataclasses import dataclass, field

import hpack

from .rawhttp import Broken, Reader

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """With `length`, the header promises another length than the payload has."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value: int, prefix: int, first: int) -> bytes:
    """RFC 7541 section 5.1; `first` has the bits above the prefix."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def text(value: str | bytes) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    return integer(len(data), 7, 0) + data


def block(*fields: tuple[str | bytes, str | bytes]) -> bytes:
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


@dataclass
class Stream:
    status: int | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._reader = Reader(connection)
        self._decoder = hpack.Decoder()
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self.last_streams: list[int] = []  # of the GOAWAYs that came
        self.closed = False
        self.pings: list[bytes] = []
        self.settings: dict[int, int] = {}

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError:
            pass  # it has closed already; what it said before can still be read

    def stream(self, number: int) -> Stream:
        return self.streams.setdefault(number, Stream())

    def read_frame(self) -> bool:
        """False: the other end has closed."""
        try:
            header = self._reader.exactly(9)
            size, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
            number = int.from_bytes(header[5:], "big")
            payload = self._reader.exactly(size)
        except Broken:
            self.closed = True
            return False
        self._take(kind, flags, number, payload)
        return True

    def read_until_over(self, number: int) -> bool:
        """Reads until the stream is over; false: the connection ended before."""
        while not self.stream(number).over:
            if not self.read_frame():
                return False
        return True

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == HEADERS:
            if not flags & END_HEADERS:
                raise AssertionError("a head in several frames")
            stream = self.stream(number)
            fields = [(str(name), str(value)) for name, value in self._decoder.decode(payload)]
            if stream.status is None or stream.status < 200:
                stream.status = int(dict(fields)[":status"])
            stream.fields += fields
            stream.ended |= bool(flags & END_STREAM)
        elif kind == DATA:
            stream = self.stream(number)
            stream.body += payload
            stream.ended |= bool(flags & END_STREAM)
            if payload:
                grant = struct.pack(">I", len(payload))
                self.send(frame(WINDOW_UPDATE, 0, 0, grant))
                if not stream.ended:
                    self.send(frame(WINDOW_UPDATE, 0, number, grant))
        elif kind == RST_STREAM:
            self.stream(number).reset = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
            self.last_streams.append(int.from_bytes(payload[:4], "big"))
        elif kind == PING and flags & ACK:
            self.pings.append(payload)
        elif kind == PING:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, at)
                self.settings[key] = value
            self.send(frame(SETTINGS, ACK, 0))
