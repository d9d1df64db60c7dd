"""HTTP/1 from outside, case by case: http1_cases.py has what clients send, http1_responses.py what servers send.

Every case has a TLS connection of its own. What a server saw is compared with the case, and a connection that
goes on has to carry one more request in good order.
"""

import ssl
from typing import ClassVar

import http1_cases
from harness.case import PORT, PUBLIC, SystemTest
from harness.network import Topology
from harness.node import Node
from harness.rawhttp import Client, Reply, Server
from http1_cases import AWAIT_CONTINUE, GUARDED, NOT_FORGED, Case
from http1_responses import RESPONSES, ResponseCase

MARKER = f"GET /marker HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n".encode()
MARKED = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker")


class ConformanceTest(SystemTest):
    """A node with a public route to a scripted server, and one that lets nobody through."""

    node: ClassVar[Node]
    server: ClassVar[Server]
    context: ClassVar[ssl.SSLContext]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = Server(cls.topology.backend)
        cls.server.replies["/marker"] = MARKED
        document = cls.make_configuration()
        document["node"]["workers"] = 1  # each has its own connections to servers, and the tests count these
        document["backends"] = [{"name": "raw", "servers": [{"url": cls.server.url}]}]
        document["routes"] = [
            {"name": "outside", "hosts": [PUBLIC], "auth": "public", "backend": "raw"},
            {"name": "guarded", "hosts": [PUBLIC], "path_prefix": GUARDED, "auth": "tailscale-only", "backend": "raw"},
        ]
        # All clients of these tests have one address.
        document["limits"] = {"handshakes_per_client": 0, "connections_per_client": 0}
        cls.configure(document)
        cls.node = cls.make_node(document).start()
        cls.context = ssl.create_default_context(cafile=cls.authority.certificate)

    @classmethod
    def configure(cls, document) -> None:
        """For a class that wants another configuration."""

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop()

    def connect(self) -> Client:
        plain = self.topology.neighbour.connect(Topology.NODE, PORT, seconds=30)
        try:
            client = Client(self.context.wrap_socket(plain, server_hostname=PUBLIC))
        except BaseException:
            plain.close()
            raise
        self.addCleanup(client.close)
        return client

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}"


class Http1Requests(ConformanceTest):
    def test_there_are_enough_and_each_has_its_name(self) -> None:
        names = [(case.section, case.name) for case in http1_cases.CASES]
        self.assertEqual(sorted(set(names)), sorted(names))
        self.assertGreaterEqual(len(names), 200)

    def test_every_request_of_the_table(self) -> None:
        for case in http1_cases.CASES:
            with self.subTest(case.name, section=case.section):
                self.run_case(case, lambda piece: [piece])

    def test_every_request_of_the_table_in_small_pieces(self) -> None:
        """The same decision however the bytes come: each piece is a record of TLS."""
        for case in http1_cases.CASES:
            if sum(len(piece) for piece in case.sent if piece is not AWAIT_CONTINUE) > 1000:
                continue
            with self.subTest(case.name, section=case.section):
                self.run_case(case, lambda piece: [piece[i:i + 7] for i in range(0, len(piece), 7)])

    def run_case(self, case: Case, pieces) -> None:
        before = len(self.server.seen)
        client = self.connect()
        for piece in case.sent:
            if piece is AWAIT_CONTINUE:
                self.assertEqual(client.interim(), 100)
                continue
            for part in pieces(piece):
                client.send(part)
        for method, allowed in zip(case.methods, case.statuses, strict=True):
            answer = client.response(to=method)
            self.assertIsNotNone(answer, "closed without an answer")
            self.assertIn(answer.status, allowed, str(answer))
            self.assertTrue(answer.complete, str(answer))
        seen = self.server.seen[before:]
        self.assertEqual([(request.method, request.target, request.body) for request in seen], list(case.reaches))
        for request in seen:
            self.assertEqual(request.version, "HTTP/1.1")
            self.assertEqual(len(request.values("Host")), 1)
        for name, expected in case.has.items():
            found = seen[-1].values(name)
            if expected is NOT_FORGED:
                self.assertEqual(len(found), 1)
                self.assertNotIn("forged", found)
            else:
                self.assertEqual(found, expected)
        for name in case.lacks:
            self.assertEqual(seen[-1].values(name), [], name)
        self.check_end(client, case.goes_on)
        self.assertEqual(len(self.server.seen), before + len(case.reaches) + (1 if case.goes_on else 0))
        client.close()

    def check_end(self, client: Client, goes_on: bool | None) -> None:
        if goes_on is None:
            return
        if not goes_on:
            self.assertTrue(client.is_closed(), "the connection goes on")
            return
        client.send(MARKER)
        answer = client.response()
        self.assertIsNotNone(answer, "the connection does not go on")
        self.assertEqual(answer.body, b"marker")


class Http1Responses(ConformanceTest):
    def test_there_are_enough_and_each_has_its_name(self) -> None:
        names = [(case.section, case.name) for case in RESPONSES]
        self.assertEqual(sorted(set(names)), sorted(names))
        self.assertGreaterEqual(len(names), 40)

    def test_every_response_of_the_table(self) -> None:
        for number, case in enumerate(RESPONSES):
            with self.subTest(case.name, section=case.section):
                self.run_case(number, case)

    def run_case(self, number: int, case: ResponseCase) -> None:
        path = f"/response/{number}"
        self.server.replies[path] = Reply(case.sent, close=case.closes)
        client = self.connect()
        client.send(f"{case.method} {path} HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n".encode())
        answer = client.response(to=case.method)
        if case.status is None:
            self.assertTrue(answer is None or not answer.complete, f"{answer} passes for a whole response")
        else:
            self.assertIsNotNone(answer, "closed without an answer")
            self.assertEqual(answer.status, case.status, str(answer))
            self.assertTrue(answer.complete, str(answer))
            if case.body is not None:
                self.assertEqual(answer.body, case.body)
            for name, expected in case.has.items():
                self.assertEqual([value for own, value in answer.fields if own.lower() == name], expected, name)
            for name in case.lacks:
                self.assertNotIn(name, [own.lower() for own, _ in answer.fields])
            self.assertEqual([status for status in answer.interim if status != 100], case.interim)
        # Whatever this server said, the next client gets its own answer and nobody else's.
        after = self.connect()
        after.send(MARKER)
        marked = after.response()
        self.assertIsNotNone(marked)
        self.assertEqual((marked.status, marked.body), (200, b"marker"))
        if case.spoils is not None:
            connections = {request.target: request.connection for request in self.server.seen[-2:]}
            self.assertEqual(connections[path] != connections["/marker"], case.spoils,
                             "whether the server's connection is used again")
        client.close()
        after.close()
