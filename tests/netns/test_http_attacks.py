"""Clients that cost us more than they pay: slow ones, floods, and frames of HTTP/2 that only make work.

While each attack runs, a quiet client goes on asking and has to get every answer. SLUICE_TEST_STRICT=1 also asks for
the numbers that a machine with nothing else to do keeps: its p99 at most twice the calm one, and our processor time at
most ten times the attacker's. What is sent is made beforehand and leaves in large pieces, so an attacker in
Python pays little more than one in C.
"""

import os
import resource
import select
import ssl
import statistics
import threading
import time
import unittest
from typing import Callable

import test_http1_conformance
from harness.case import PORT, PUBLIC
from harness.http2 import (ACK, CONTINUATION, DATA, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM,
                           SETTINGS, WINDOW_UPDATE, Http2Client, frame, settings)
from harness.network import Topology
from harness.rawhttp import Broken, Client, Reply
from harness.waiting import until
from http2_cases import FOUR, headers

STRICT = os.environ.get("SLUICE_TEST_STRICT") == "1"
IDLE_CONNECTIONS = int(os.environ.get("SLUICE_TEST_IDLE_CONNECTIONS", 300))
# With few connections the rooms that grow by large steps count for much.
IDLE_BYTES_EACH = 24 * 1024 if IDLE_CONNECTIONS >= 5000 else 96 * 1024
MEMORY_OF_AN_ATTACK = 48 << 20
GET = f"GET /marker HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n".encode()


class QuietClient(threading.Thread):
    """Asks over one connection, a hundred times a second at most, and keeps how long each answer took."""

    def __init__(self, client: Client):
        super().__init__(daemon=True)
        self._client, self._ending = client, threading.Event()
        self.seconds: list[float] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ending.wait(0.01):
                began = time.monotonic()
                self._client.send(GET)
                answer = self._client.response()
                if answer is None or answer.body != b"marker":
                    raise AssertionError(f"the quiet client got {answer}")
                self.seconds.append(time.monotonic() - began)
        except (AssertionError, Broken, OSError) as error:
            self.error = error

    def end(self) -> float:
        """The 99th percentile."""
        self._ending.set()
        self.join(60)
        if self.error is not None:
            raise AssertionError("the quiet client lost its connection") from self.error
        return statistics.quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else 0.0


class HttpAttacks(test_http1_conformance.ConformanceTest):
    alone = True

    @classmethod
    def configure(cls, document) -> None:
        document["limits"].update(head_timeout="2s", progress_timeout="2s", handshake_timeout="2s")

    # Slow clients.

    def test_heads_that_come_byte_by_byte(self) -> None:
        def attack() -> None:
            clients = [self.connect() for _ in range(50)]
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            deadline = time.monotonic() + 60
            alive = list(clients)
            while alive and time.monotonic() < deadline:
                time.sleep(0.1)
                for client in alive:
                    client.send(b"y")
                alive = [client for client in alive if not ended(client)]
            self.assertEqual(len(alive), 0, "heads without an end are waited for")

        self.under(attack)

    def test_bodies_that_stand_still(self) -> None:
        def attack() -> None:
            clients = [self.connect() for _ in range(50)]
            for client in clients:
                client.send(f"POST /slow HTTP/1.1\r\nHost: {PUBLIC}\r\nContent-Length: 1000\r\n\r\nx".encode())
            for client in clients:
                client.stream.settimeout(60)
                answer = client.response(to="POST")
                self.assertTrue(answer is None or answer.status in (408, 504), str(answer))

        self.under(attack)

    def test_answers_that_nobody_reads(self) -> None:
        size = 8 << 20
        self.server.replies["/large"] = Reply(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size))

        def attack() -> None:
            clients = [self.connect() for _ in range(20)]
            for client in clients:
                client.send(f"GET /large HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n".encode())
            until(lambda: self.server.open_connections() >= len(clients), "all of them are answered", 60)
            # What is left is the quiet client's.
            until(lambda: self.server.open_connections() <= 2, "the node gives up on all of them", 60)

        self.under(attack)

    def test_handshakes_that_stand_still(self) -> None:
        def attack() -> None:
            stalled = [self.topology.neighbour.connect(Topology.NODE, PORT, seconds=60) for _ in range(200)]
            try:
                for number, plain in enumerate(stalled):
                    if number % 2:
                        plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                for plain in stalled:
                    try:
                        while plain.recv(1000):
                            pass
                    except ConnectionError:
                        pass
            finally:
                for plain in stalled:
                    plain.close()

        self.under(attack)

    # Floods of HTTP/1.

    def test_a_flood_of_connections(self) -> None:
        def attack() -> None:
            for _ in range(300):
                self.topology.neighbour.connect(Topology.NODE, PORT, seconds=60).close()

        self.under(attack)

    def test_heads_without_an_end_and_chunks_of_a_byte(self) -> None:
        flood = b"X-A: y\r\n" * 20_000
        chunks = b"1\r\nx\r\n" * 100_000

        def attack() -> None:
            for _ in range(20):
                client = self.connect()
                client.send(b"GET / HTTP/1.1\r\n" + flood)
                answer = client.response()
                self.assertEqual(answer.status, 431)
                client.close()
            client = self.connect()
            client.send(f"POST /chunks HTTP/1.1\r\nHost: {PUBLIC}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            client.send(chunks + b"0\r\n\r\n")
            answer = client.response(to="POST")
            self.assertEqual(answer.status, 200)
            self.assertEqual(self.server.seen[-1].body if self.server.seen[-1].target == "/chunks" else b"x" * 100_000,
                             b"x" * 100_000)

        self.under(attack)

    # Floods of HTTP/2: each ends with the connection.

    def test_rapid_reset(self) -> None:
        before = len(self.server.seen)
        self.flood(b"".join(headers(number, path="/reset") + frame(RST_STREAM, 0, number, FOUR(8)) for number in range(1, 40_000, 2)))
        reached = [request for request in self.server.seen[before:] if request.target == "/reset"]
        self.assertLess(len(reached), 5000)

    def test_resets_that_we_are_made_to_send(self) -> None:
        for name, mistake in {"a window of nothing": lambda number: frame(WINDOW_UPDATE, 0, number, FOUR(0)),
                              "a window too large": lambda number: frame(WINDOW_UPDATE, 0, number, FOUR(0x7fffffff)),
                              "half a priority": lambda number: frame(PRIORITY, 0, number, bytes(4)),
                              "data behind the end": lambda number: frame(DATA, END_STREAM, number, b"x")}.items():
            with self.subTest(name):
                self.flood(b"".join(headers(number, path="/reset") + mistake(number) for number in range(1, 40_000, 2)))

    def test_frames_that_only_make_work(self) -> None:
        open_stream = headers(1, method="POST", end=False, path="/open")
        for name, flood in {"SETTINGS": settings() * 50_000, "SETTINGS that change": settings((4, 1000), (4, 70000)) * 50_000,
                            "PING": frame(PING, 0, 0, bytes(8)) * 50_000, "PRIORITY": frame(PRIORITY, 0, 7, bytes(5)) * 50_000,
                            "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 0, FOUR(1)) * 50_000,
                            "PING that answers nothing": frame(PING, ACK, 0, bytes(8)) * 50_000,
                            "DATA of nothing": open_stream + frame(DATA, 0, 1) * 50_000,
                            "CONTINUATION of nothing": frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1) * 50_000,
                            "acknowledged SETTINGS": frame(SETTINGS, ACK, 0) * 50_000}.items():
            with self.subTest(name):
                self.flood(flood)

    def test_streams_without_an_end(self) -> None:
        """More of them than are allowed are refused, and none of them reaches a server."""
        before = len(self.server.seen)
        client = self.open_http2()
        client.send(PREFACE + settings() + b"".join(
            headers(number, method="POST", end=False, path="/open") for number in range(1, 4001, 2)))
        until(lambda: not client.read_frame() or client.goaway is not None
              or any(s.reset is not None for s in client.streams.values()),
              "too many streams are refused", 60)
        client.connection.close()
        self.assertEqual([request for request in self.server.seen[before:] if request.target == "/open"], [])
        self.assert_fine()

    # What they are made of.

    def flood(self, payload: bytes) -> None:
        """Sends it over one connection of HTTP/2, which the node has to end."""
        def attack() -> None:
            client = self.open_http2()
            self.assertTrue(send_until_ended(client.connection, PREFACE + settings() + payload), "the connection goes on")
            client.connection.close()

        self.under(attack)

    def under(self, attack: Callable[[], None]) -> None:
        """Runs the attack beside a quiet client, and holds it against the limits."""
        calm = QuietClient(self.connect())
        if STRICT:
            calm.start()
            time.sleep(1)
        calm_p99 = calm.end() if STRICT else 0.0
        quiet = QuietClient(self.connect())
        memory = self.node.process.resident_bytes()
        ours, theirs = self.node.process.processor_seconds(), time.thread_time()
        quiet.start()
        try:
            attack()
        finally:
            p99 = quiet.end()
        ours, theirs = self.node.process.processor_seconds() - ours, time.thread_time() - theirs
        # The quiet client's work is in ours as well; a tenth of a second covers that and the clock's steps.
        if STRICT:
            self.assertLessEqual(p99, 2 * calm_p99 + 0.001, f"p99 {p99 * 1000:.2f} ms, calm {calm_p99 * 1000:.2f} ms")
            self.assertLessEqual(ours, 10 * theirs + 0.1, f"{ours:.2f} s of ours for {theirs:.2f} s of theirs")
        else:
            self.assertLessEqual(ours, 30 * theirs + 2, f"{ours:.2f} s of ours for {theirs:.2f} s of theirs")
        self.assertLess(self.node.process.resident_bytes() - memory, MEMORY_OF_AN_ATTACK)
        self.assert_fine()

    def assert_fine(self) -> None:
        client = self.connect()
        ask(self, client)
        client.close()

    def open_http2(self) -> Http2Client:
        connection = self.site(self.topology.neighbour, Topology.NODE).tls(PUBLIC, alpn=["h2"], seconds=60)
        self.addCleanup(connection.close)
        return Http2Client(connection)


class IdleConnections(test_http1_conformance.ConformanceTest):
    """With a node of its own, whose memory nothing else has filled before."""

    @classmethod
    def configure(cls, document) -> None:
        document["limits"]["idle_timeout"] = "1h"

    def test_idle_connections_cost_little(self) -> None:
        wanted = IDLE_CONNECTIONS + 200
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest(f"{wanted} descriptors are not allowed here")
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        warm = [self.connect() for _ in range(20)]
        for client in warm:
            ask(self, client)
        before = self.node.process.resident_bytes()
        clients = []
        for _ in range(IDLE_CONNECTIONS):
            clients.append(self.connect())
            ask(self, clients[-1])
        each = (self.node.process.resident_bytes() - before) / IDLE_CONNECTIONS
        print(f"          {IDLE_CONNECTIONS} idle connections: {each / 1024:.1f} KiB each", flush=True)
        self.assertLess(each, IDLE_BYTES_EACH)
        for client in clients:
            client.close()
        ask(self, self.connect())


def ask(test: unittest.TestCase, client: Client) -> None:
    client.send(GET)
    answer = client.response()
    test.assertIsNotNone(answer)
    test.assertEqual(answer.body, b"marker")


def ended(client: Client) -> bool:
    """Whether the node has said its last word on it; does not wait."""
    client.stream.settimeout(0.001)
    try:
        return client.stream.recv(1000) == b""
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def send_until_ended(connection: ssl.SSLSocket, payload: bytes, seconds: float = 60) -> bool:
    """Sends and reads at once, so that neither end blocks the other; false: the node has not ended it in time.

    In one thread, because a connection of OpenSSL belongs to one thread at a time.
    """
    connection.setblocking(False)
    poll = select.poll()
    deadline, sent = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        moved = False
        try:
            if not connection.recv(1 << 16):
                return True
            moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            return True
        if sent < len(payload):
            try:
                sent += connection.send(payload[sent: sent + (1 << 16)])
                moved = True
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError:
                sent = len(payload)  # it takes no more; what it said before can still be read
        if not moved:
            poll.register(connection, select.POLLIN | (select.POLLOUT if sent < len(payload) else 0))
            poll.poll(1000)
    return False
