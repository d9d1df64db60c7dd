"""Servers of HTTP/2 that refuse requests (RFC 9113 section 8.7), scripted with python3-h2."""

import collections
import contextlib
import socket
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events

from harness import cleanup
from harness.case import PUBLIC, ServedTest, on_both_engines
from harness.network import Topology, authority


class RefusingServer:
    """Answers with the body that it got. What the path names is refused the first time: /refuse by a reset, /goaway
    by the end of the connection; /never always."""

    def __init__(self, topology: Topology):
        self.requests: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        with topology.backend.entered():
            self._listener = socket.create_server((Topology.BACKEND, 0), backlog=64)
        self.url = f"http://{authority(*self._listener.getsockname()[:2])}"
        threading.Thread(target=self._accept, daemon=True).start()
        cleanup.later(self.close)

    def close(self) -> None:
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):  # the other end was first
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        bodies: dict[int, bytes] = {}
        paths: dict[int, str] = {}
        with contextlib.suppress(OSError):
            connection.sendall(state.data_to_send())
            while data := connection.recv(65536):
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        paths[event.stream_id] = dict(event.headers)[":path"]
                        bodies[event.stream_id] = b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        stream = event.stream_id
                        goes_on = self._answer(state, stream, paths[stream], bodies[stream])
                        connection.sendall(state.data_to_send())
                        if not goes_on:
                            while connection.recv(65536):  # until the node ends it
                                pass
                            return
                connection.sendall(state.data_to_send())

    def _answer(self, state: h2.connection.H2Connection, stream: int, path: str, body: bytes) -> bool:
        with self._lock:
            self.requests[path] += 1
            first = self.requests[path] == 1
        if path == "/never" or first and path == "/refuse":
            state.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif first and path == "/goaway":
            state.close_connection(last_stream_id=stream - 2 if stream > 2 else 0)
            return False
        else:
            state.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))], end_stream=not body)
            if body:
                state.send_data(stream, body, end_stream=True)
        return True


@on_both_engines
class Refused(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        cls.server = RefusingServer(cls.topology)
        document["backends"][0].update(servers=[{"url": cls.server.url}], protocol="h2")

    def post(self, path: str, *options: str):
        return self.neighbour.fetch(PUBLIC, path, options=["--data", "the body", *options])

    def test_a_request_that_was_refused_is_asked_again(self) -> None:
        for path in ("/refuse", "/goaway"):
            with self.subTest(path):
                answer = self.post(path)
                self.assertEqual((answer.status, answer.body), (200, b"the body"), str(answer))
                self.assertEqual(self.server.requests[path], 2)

    def test_but_not_for_ever(self) -> None:
        answer = self.post("/never")
        self.assertEqual(answer.status, 502, str(answer))
        self.assertEqual(self.server.requests["/never"], 3)
        self.assertEqual(self.post("/other", "--http1.1").status, 200)
