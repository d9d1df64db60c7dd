"""A backend that does as its URL says, and remembers what it was asked.

    GET  /echo                   the request as JSON: method, path, headers
    GET  /stream?size=N&seed=S   N bytes with Content-Length
    GET  /chunked?size=N&seed=S  the same, in chunks of many sizes
    PUT  /sink                   reads the body and answers its size and SHA-256 as JSON
    GET  /slow?seconds=T         nothing for T seconds, then an answer
    GET  /cut?size=N             promises N bytes and closes after half of them
    GET  /silent                 closes without an answer
    GET  /nonsense               something that is not HTTP
    GET  /paced?...              a body that the test lets go MiB by MiB: Backend.paced()
"""

import collections
import contextlib
import hashlib
import http.server
import json
import socket
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from . import cleanup
from .network import Namespace, Topology, authority, family_of
from .payload import Payload


class Backend:
    """Listens inside the namespace, on threads of the test."""

    def __init__(self, namespace: Namespace, address: str = Topology.BACKEND, port: int = 0):
        with namespace.entered():
            self._server = _Server((address, port), self)
        self.url = f"http://{authority(address, self._server.server_address[1])}"
        self._paced: list[threading.Semaphore] = []
        self.requests: collections.Counter[str] = collections.Counter()  # by path
        self.connections = 0  # so far
        self.open_connections: set[socket.socket] = set()
        self.lock = threading.Lock()  # of these three
        # The short poll is for close(): shutdown() is noticed between two of them.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        cleanup.later(self.close)
        self._open = True

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def paced(self, payload: Payload) -> "Paced":
        self._paced.append(threading.Semaphore(0))
        number = len(self._paced) - 1
        return Paced(f"/paced?size={payload.size}&seed={payload.seed}&number={number}", self._paced[number])

    def may_go_on(self, number: int) -> bool:
        """Waits until the test lets the next MiB go; false if it seems to have forgotten it."""
        return self._paced[number].acquire(timeout=60)

    def close(self) -> None:
        """From now on it is dead: nothing listens, and its connections are closed."""
        if not self._open:
            return
        self._open = False
        self._server.shutdown()
        self._server.server_close()
        with self.lock:
            for connection in self.open_connections:
                with contextlib.suppress(OSError):  # the other end was first
                    connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Paced:
    """A body that goes out at the test's word; ask for it once, at `path`."""
    path: str
    _released: threading.Semaphore

    def let_go(self, mebibytes: int) -> None:
        self._released.release(mebibytes)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], backend: Backend):
        self.address_family = family_of(address[0])
        self.backend = backend
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks the address up by name.
        self.allow_reuse_address = True
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a peer that goes away is what some tests are about


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.backend.lock:
            self.server.backend.connections += 1
            self.server.backend.open_connections.add(self.connection)

    def finish(self) -> None:
        with self.server.backend.lock:
            self.server.backend.open_connections.discard(self.connection)
        super().finish()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with self.server.backend.lock:
            self.server.backend.requests[url.path] += 1
        does = getattr(self, "_does_" + url.path.strip("/").split("/")[0], None)
        if does is None:
            self._answer(404, b"no such behaviour\n")
        else:
            does()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _payload(self) -> Payload:
        return Payload(int(self._query.get("seed", 0)), int(self._query["size"]))

    def _begin(self, name: str, value: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header(name, value)
        self.end_headers()

    def _does_echo(self) -> None:
        seen = {"method": self.command, "path": self.path, "headers": self.headers.items(),
                "body": self._read_all().decode("latin-1")}
        self._answer(200, json.dumps(seen).encode(), "application/json")

    def _does_stream(self) -> None:
        payload = self._payload()
        self._begin("Content-Length", str(payload.size))
        for chunk in payload.chunks():
            self.wfile.write(chunk)

    def _does_chunked(self) -> None:
        self._begin("Transfer-Encoding", "chunked")
        step = 1
        for chunk in self._payload().chunks():
            while chunk:
                piece, chunk = chunk[:step], chunk[step:]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                step = step * 3 % 65537 or 1
        self.wfile.write(b"0\r\n\r\n")

    def _does_sink(self) -> None:
        digest, size = hashlib.sha256(), 0
        for piece in self._body():
            digest.update(piece)
            size += len(piece)
        result = {"size": size, "sha256": digest.hexdigest(),
                  "chunked": self.headers.get("Transfer-Encoding") == "chunked"}
        self._answer(200, json.dumps(result).encode(), "application/json")

    def _does_slow(self) -> None:
        threading.Event().wait(float(self._query["seconds"]))
        self._answer(200, b"at last\n")

    def _does_cut(self) -> None:
        payload = self._payload()
        self._begin("Content-Length", str(payload.size))
        self.wfile.write(b"".join(payload.chunks())[: payload.size // 2])
        self.close_connection = True

    def _does_silent(self) -> None:
        self.close_connection = True

    def _does_nonsense(self) -> None:
        self.wfile.write(b"\x00\x01 nothing that a proxy should pass on\r\n\r\n")
        self.close_connection = True

    def _does_paced(self) -> None:
        payload = self._payload()
        self._begin("Content-Length", str(payload.size))
        for chunk in payload.chunks():
            if not self.server.backend.may_go_on(int(self._query["number"])):
                self.close_connection = True
                return
            self.wfile.write(chunk)

    def _read_all(self) -> bytes:
        return b"".join(self._body())

    def _body(self):
        """The pieces of the request's body, whichever way it is framed."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self._exactly(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass  # trailers
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self._exactly(min(left, 1 << 20))
            left -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise ConnectionError("the body ended early")
        return piece
