"""HTTP/2 from outside, frame by frame: http2_cases.py says what is sent and what has to happen.

Where the RFC lets a server choose between the end of a stream and the end of the connection, or a refusal, each is
accepted. What is wrong never reaches a server; a connection that goes on has to answer one more stream; and a
stream on another connection does not notice.
"""


import test_http1_conformance
from harness.case import PUBLIC
from harness.http2 import PREFACE, Http2Client, settings
from harness.network import Topology
from http2_cases import CASES, CONNECTION, FINE, STREAM, UNSEEN, Case, headers

CASE, MARKER = 1, 101  # numbers of streams


class Http2Requests(test_http1_conformance.ConformanceTest):
    def test_there_are_enough_and_each_has_its_name(self) -> None:
        names = [(case.section, case.name) for case in CASES]
        self.assertEqual(sorted(set(names)), sorted(names))
        self.assertGreaterEqual(len(names), 100)

    def test_every_case_of_the_table(self) -> None:
        beside = self.open()
        beside.send(PREFACE + settings())
        number = 1
        for case in CASES:
            with self.subTest(case.name, section=case.section):
                self.run_case(case)
                beside.send(headers(number, path="/marker"))
                self.assertTrue(beside.read_until_over(number), "another connection ended")
                self.assertEqual(beside.stream(number).body, b"marker")
                number += 2

    def run_case(self, case: Case) -> None:
        before = len(self.server.seen)
        client = self.open()
        try:
            client.send((b"" if case.raw else PREFACE + settings()) + case.sent)
            self.read(client, case)
            seen = [request for request in self.server.seen[before:] if request.target != "/marker"]
            stream = client.stream(CASE)
            if case.outcome == FINE:
                self.assertEqual((stream.status, stream.body, stream.reset), (200, b"ok", None), f"GOAWAY {client.goaway}")
                self.assertEqual([request.target for request in seen], ["/case"])
            elif case.outcome in (CONNECTION, STREAM, UNSEEN):
                self.assertEqual(seen, [])
            if case.outcome == CONNECTION:
                self.assertTrue(client.closed, "the connection goes on")
            elif case.outcome == STREAM and not client.closed:
                refused = stream.reset is not None or (stream.status is not None and stream.status >= 400)
                self.assertTrue(refused, f"{stream} is no refusal")
            for request in seen:
                self.assertNotIn("evil", request.target)
                self.assertEqual(len(request.values("Host")), 1)
                self.assertEqual(request.values("x-b"), [])
            if case.body is not None:
                self.assertEqual(seen[-1].body, case.body)
            for name, expected in case.has.items():
                self.assertEqual(seen[-1].values(name), expected)
            for name in case.lacks:
                self.assertEqual(seen[-1].values(name), [], name)
            for ping in case.pings:
                self.assertIn(ping, client.pings)
        finally:
            client.connection.close()

    def read(self, client: Http2Client, case: Case) -> None:
        """Until the connection has ended, or the case and one more stream behind it are over."""
        if case.outcome == FINE and not client.read_until_over(CASE):
            return
        client.send(headers(MARKER, path="/marker"))
        if client.read_until_over(MARKER):
            marker = client.stream(MARKER)
            self.assertEqual((marker.status, marker.body), (200, b"marker"))
            if case.outcome == STREAM:
                client.read_until_over(CASE)

    def open(self) -> Http2Client:
        connection = self.site(self.topology.neighbour, Topology.NODE).tls(PUBLIC, alpn=["h2", "http/1.1"], seconds=30)
        self.addCleanup(connection.close)
        self.assertEqual(connection.selected_alpn_protocol(), "h2")
        return Http2Client(connection)
