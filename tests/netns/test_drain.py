"""`sluice drain`: nobody new, everybody who is being served to the end, and then the node's."""

import contextlib
import threading

from harness import http2, rawhttp
from harness.case import PUBLIC, SystemTest, on_both_engines
from harness.http2 import Http2Client
from harness.network import Topology
from harness.payload import Payload
from harness.waiting import until

HOST = "slow.wild.sluice.test"
BODY = Payload(seed=11, size=4 << 20)
SECONDS = 60  # for whatever has to happen; a busy machine needs a part of it


@on_both_engines
class Drain(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.server = rawhttp.Server(self.topology.backend, answer=self.answer)
        document = self.make_configuration()
        document["backends"].append({"name": "slow", "servers": [{"url": self.server.url}]})
        document["routes"].append({"name": "slow", "hosts": [HOST], "auth": "public", "backend": "slow"})
        self.node = self.make_node(document).start()
        self.neighbour = self.site(self.topology.neighbour, Topology.NODE)

    def explain(self) -> str:
        return self.node.tail()

    def answer(self, seen: rawhttp.Seen) -> rawhttp.Reply:
        """Requests for /slow wait for the test's word."""
        if seen.target.startswith("/slow"):
            self.go_on.wait(SECONDS)
        return rawhttp.OK

    def open(self) -> rawhttp.Client:
        stream = self.neighbour.tls(HOST, seconds=SECONDS)
        self.addCleanup(stream.close)
        return rawhttp.Client(stream)

    def open_http2(self) -> Http2Client:
        stream = self.neighbour.tls(HOST, seconds=SECONDS, alpn=["h2"])
        self.addCleanup(stream.close)
        client = Http2Client(stream)
        client.send(http2.PREFACE + http2.settings())
        return client

    @staticmethod
    def request(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

    @staticmethod
    def request_http2(number: int, path: str) -> bytes:
        return http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, number, http2.block(
            (":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)))

    def await_slow(self, path: str) -> None:
        until(lambda: any(seen.target == path for seen in self.server.seen), f"the server has got {path}", SECONDS)

    def drain(self) -> None:
        done = self.node.command("drain", seconds=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("draining", done.stdout)
        until(self.refuses, "no new connection is accepted", SECONDS)

    def refuses(self) -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            self.neighbour.plain(seconds=SECONDS).close()
            return False
        return True

    def assert_ends(self) -> None:
        self.assertEqual(self.node.process.wait(SECONDS), 0, self.node.tail())
        self.node.assert_no_complaint()
        self.assertFalse(self.node.control.exists())

    def read_to_the_end(self, client: Http2Client) -> None:
        while client.read_frame():
            pass
        self.assertEqual(client.goaway, 0)

    def test_http1_clients(self) -> None:
        idle, asking, half = self.open(), self.open(), self.open()
        idle.send(self.request("/"))
        self.assertEqual(idle.response().status, 200)
        asking.send(self.request("/slow"))
        self.await_slow("/slow")
        # What lies behind the first request has come with it.
        begun, rest = self.request("/second")[:20], self.request("/second")[20:]
        half.send(self.request("/first") + begun)
        response = half.response()
        self.assertEqual((response.status, rawhttp.values(response.fields, "Connection")), (200, []))

        self.drain()
        self.assertTrue(idle.is_closed())
        half.send(rest)
        self.go_on.set()
        for client in (half, asking):
            response = client.response()
            self.assertEqual((response.status, response.body), (200, b"ok"))
            self.assertEqual(rawhttp.values(response.fields, "Connection"), ["close"])
            self.assertTrue(client.is_closed())
        self.assert_ends()

    def test_http2_clients(self) -> None:
        idle, asking = self.open_http2(), self.open_http2()
        idle.send(self.request_http2(1, "/"))
        self.assertTrue(idle.read_until_over(1))
        asking.send(self.request_http2(1, "/slow/1") + self.request_http2(3, "/slow/3"))
        self.await_slow("/slow/1")
        self.await_slow("/slow/3")

        self.drain()
        self.read_to_the_end(idle)
        while len(asking.last_streams) < 2:
            self.assertTrue(asking.read_frame(), "it ended before it said how far it serves")
        # First a warning, then the last one that is served.
        self.assertEqual(asking.last_streams, [2**31 - 1, 3])
        self.go_on.set()
        self.read_to_the_end(asking)
        for number in (1, 3):
            stream = asking.stream(number)
            self.assertEqual((stream.status, stream.body, stream.ended, stream.reset), (200, b"ok", True, None))
        self.assert_ends()

    def test_downloads_come_whole(self) -> None:
        bodies = [self.backend.paced(BODY) for _ in range(2)]
        downloads = [self.neighbour.download(PUBLIC, body.path) for body in bodies]
        for body, download in zip(bodies, downloads):
            body.let_go(2)
            download.read(1 << 20)
        self.drain()
        for body, download in zip(bodies, downloads):
            body.let_go(2)
            self.assertEqual(download.finish(), BODY.sha256())
        self.assert_ends()

    def test_one_that_does_not_end_is_not_waited_for_forever(self) -> None:
        body = self.backend.paced(BODY)
        download = self.neighbour.download(PUBLIC, body.path)
        body.let_go(2)
        download.read(1 << 20)
        self.drain()
        self.assert_ends()  # without the rest of the body
        self.assertIn("the time for draining is over", self.node.process.output())
        with self.assertRaisesRegex(AssertionError, "the download failed"):
            download.finish()
        body.let_go(2)
