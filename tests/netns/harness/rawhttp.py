"""HTTP/1 with nothing between the test and the bytes: a client that sends whatever it is given and says what
came back, and a server that answers with whatever it is told and remembers what it was asked.

Both read strictly: what they do not understand is a failure of the test, never repaired.
"""

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Callable

from . import cleanup
from .network import Namespace, Topology, authority, family_of

Fields = list[tuple[str, str]]


class Broken(Exception):
    """The other end broke off, or does not speak HTTP/1.1."""


class Reader:
    """Messages out of a stream, one after the other."""

    def __init__(self, stream: socket.socket):
        self._stream = stream
        self._held = b""

    def more(self) -> bool:
        """Waits for more bytes; false: the other end has closed, in whichever way."""
        try:
            piece = self._stream.recv(65536)
        except TimeoutError:
            raise AssertionError(f"nothing came; held so far: {self._held[:200]!r}") from None
        except (ConnectionError, ssl.SSLError):
            return False
        self._held += piece
        return bool(piece)

    def at_end(self) -> bool:
        """Whether nothing more comes."""
        return not self._held and not self.more()

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self.more():
            pass
        held, self._held = self._held, b""
        return held

    def head(self) -> tuple[str, Fields] | None:
        """The first line and the fields; None: the other end closed before a byte came."""
        while b"\r\n\r\n" not in self._held:
            if not self.more():
                if self._held:
                    raise Broken(f"the connection ended within a head: {self._held[:200]!r}")
                return None
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        return first, [self._field(line) for line in lines]

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            if not self.more():
                raise Broken(f"the connection ended {size - len(self._held)} bytes before the body")
        piece, self._held = self._held[:size], self._held[size:]
        return piece

    def line(self) -> str:
        while b"\r\n" not in self._held:
            if not self.more():
                raise Broken("the connection ended within a line")
        line, _, self._held = self._held.partition(b"\r\n")
        return line.decode("latin-1")

    def chunked(self) -> tuple[bytes, Fields]:
        body = []
        while size := self._chunk_size():
            body.append(self.exactly(size))
            if self.exactly(2) != b"\r\n":
                raise Broken("a chunk that does not end")
        trailers = []
        while line := self.line():
            trailers.append(self._field(line))
        return b"".join(body), trailers

    def _chunk_size(self) -> int:
        text = self.line()
        if not text or text.strip("0123456789abcdefABCDEF"):
            raise Broken(f"a chunk size {text!r}")
        return int(text, 16)

    @staticmethod
    def _field(line: str) -> tuple[str, str]:
        name, colon, value = line.partition(":")
        if not colon or not name or name.strip() != name or any(c in value for c in "\r\n\0"):
            raise Broken(f"a header {line!r}")
        return name, value.strip(" \t")


def values(fields: Fields, name: str) -> list[str]:
    return [value for own, value in fields if own.lower() == name.lower()]


def one(fields: Fields, name: str) -> str | None:
    found = values(fields, name)
    if len(found) > 1:
        raise Broken(f"{name} is there {len(found)} times")
    return found[0] if found else None


@dataclass
class Response:
    status: int
    fields: Fields
    body: bytes = b""
    complete: bool = True  # False: the connection broke within the body
    framing: str = "none"  # length, chunked, close
    interim: list[int] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.status} {self.framing} {self.body[:100]!r}{'' if self.complete else ' (broken off)'}"


class Client:
    """One connection."""

    def __init__(self, stream: socket.socket):
        self.stream = stream
        self._reader = Reader(stream)

    def send(self, data: bytes) -> None:
        """Sends what the other end still takes: one that has already refused may have closed."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.stream.sendall(data)

    def response(self, *, to: str = "GET") -> Response | None:
        """The next final response to a request with this method; None: closed without one."""
        interim = []
        while True:
            head = self._reader.head()
            if head is None:
                return None
            first, fields = head
            version, status, *_ = first.split(" ", 2)
            if version != "HTTP/1.1":
                raise Broken(f"a response with the version {version!r}")
            response = Response(int(status), fields, interim=interim)
            if 100 <= response.status < 200 and response.status != 101:
                interim.append(response.status)
                continue
            self._read_body(response, to)
            return response

    def interim(self) -> int:
        head = self._reader.head()
        if head is None:
            raise Broken("closed instead of an interim response")
        return int(head[0].split(" ")[1])

    def _read_body(self, response: Response, method: str) -> None:
        length, coding = one(response.fields, "Content-Length"), one(response.fields, "Transfer-Encoding")
        if length is not None and coding is not None:
            raise Broken("a response with two framings")
        if method == "HEAD" or response.status in (101, 204, 304):
            return
        try:
            if coding is not None:
                if coding != "chunked":
                    raise AssertionError(f"a transfer coding {coding!r}")
                response.framing = "chunked"
                response.body, response.trailers = self._reader.chunked()
            elif length is not None:
                response.framing = "length"
                response.body = self._reader.exactly(int(length))
            else:
                response.framing = "close"
                response.body = self._reader.rest()
        except Broken:
            response.complete = False

    def is_closed(self) -> bool:
        """Whether the other end closes without another byte."""
        return self._reader.at_end()

    def take(self, size: int) -> bytes:
        return self._reader.exactly(size)

    def close(self) -> None:
        self.stream.close()


@dataclass
class Seen:
    """A request that came whole."""
    method: str
    target: str
    version: str
    fields: Fields
    body: bytes
    trailers: Fields
    connection: int

    def values(self, name: str) -> list[str]:
        return values(self.fields, name)


@dataclass
class Reply:
    """What the server does about a path. `body_first` false: it answers when it has the head."""
    data: bytes
    close: bool = False
    body_first: bool = True


OK = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Server:
    """Answers each request with replies[path], else with 200, on threads of the test."""

    def __init__(self, namespace: Namespace, address: str = Topology.BACKEND, port: int = 0,
                 answer: Callable[[Seen], Reply] | None = None):
        with namespace.entered():
            self._listener = socket.create_server((address, port), family=family_of(address), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{authority(address, self.port)}"
        self.replies: dict[str, Reply] = {}
        self.seen: list[Seen] = []
        self.broken: list[str] = []  # why connections ended that ended in the middle of a request
        self.connections = 0
        self._answer = answer or (lambda seen: self.replies.get(seen.target.partition("?")[0], OK))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        cleanup.later(self.close)

    def close(self) -> None:
        # shutdown() wakes the thread in accept(); close() alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        reader = Reader(connection)
        try:
            while self._serve_one(connection, reader, number):
                pass
        except Broken as error:
            self.broken.append(str(error))
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _serve_one(self, connection: socket.socket, reader: Reader, number: int) -> bool:
        head = reader.head()
        if head is None:
            return False
        first, fields = head
        method, target, version = first.split(" ")
        seen = Seen(method, target, version, fields, b"", [], number)
        reply = self.replies.get(target.partition("?")[0])
        if reply is not None and not reply.body_first:
            connection.sendall(reply.data)
            if reply.close:
                connection.shutdown(socket.SHUT_WR)
                reader.rest()
                return False
            self._read_body(reader, seen)
            return True
        if seen.values("Expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._read_body(reader, seen)
        self.seen.append(seen)
        reply = self._answer(seen)
        connection.sendall(reply.data)
        return not reply.close

    @staticmethod
    def _read_body(reader: Reader, seen: Seen) -> None:
        length, coding = one(seen.fields, "Content-Length"), one(seen.fields, "Transfer-Encoding")
        if length is not None and coding is not None:
            raise Broken("two framings")
        if coding is not None:
            if coding != "chunked":
                raise Broken(f"a transfer coding {coding!r}")
            seen.body, seen.trailers = reader.chunked()
        elif length is not None:
            seen.body = reader.exactly(int(length))
