"""Request smuggling, through the node and into real servers: nginx, HAProxy, Apache and Node.js.

Each case is refused by the node, or all of these servers read the same requests in what it forwards: as many, with
the same methods, targets and bodies; and the client gets as many answers, in their order. Behind each case
another client asks each server something else and has to get just that.
"""

import json
import ssl
import unittest
from typing import ClassVar

from harness import servers
from harness.case import PORT, SystemTest
from harness.network import Topology
from harness.node import Node
from harness.rawhttp import Client, Response
from harness.servers import RealServer
from smuggling_cases import CASES, Smuggling

PLACEHOLDER = b"servers.wild.sluice.test"  # as long as every host, so that the lengths of the table stay right
FIRST_PORT = 8081  # in the backends' namespace


class Smuggled(SystemTest):
    node: ClassVar[Node]
    servers: ClassVar[dict[str, RealServer]]
    context: ClassVar[ssl.SSLContext]

    @classmethod
    def setUpClass(cls) -> None:
        absent = servers.missing()
        if absent:
            raise unittest.SkipTest(f"not installed: {', '.join(absent)}")
        super().setUpClass()
        cls.servers = {kind: RealServer(kind, cls.topology.backend, cls.directory, FIRST_PORT + number)
                       for number, kind in enumerate(servers.PROGRAMS)}
        document = cls.make_configuration()
        document["node"]["workers"] = 1  # so that each server has the connections of one worker: few, and used again
        document["limits"] = {"handshakes_per_client": 0, "connections_per_client": 0}  # one address for all clients
        document["routes"] = [{"name": kind, "hosts": [host_of(kind)], "auth": "public", "backend": kind} for kind in cls.servers]
        document["backends"] = [{"name": kind, "servers": [{"url": server.url}]} for kind, server in cls.servers.items()]
        cls.node = cls.make_node(document).start()
        cls.context = ssl.create_default_context(cafile=cls.authority.certificate)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.node.stop()

    def test_names_are_unique(self) -> None:
        names = [case.name for case in CASES]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_all_servers_read_what_the_node_read(self) -> None:
        serials = {kind: self.ask(kind)["serial"] for kind in self.servers}
        for case in CASES:
            with self.subTest(case.name):
                results = {}
                for kind in self.servers:
                    try:
                        results[kind] = self.send(kind, case)
                    finally:
                        after = self.ask(kind)
                        read, serials[kind] = after["serial"] - serials[kind] - 1, after["serial"]
                    with self.subTest(server=kind):
                        self.check(case, results[kind], read)
                first = next(iter(results.values()))
                for kind, result in results.items():
                    self.assertEqual(result, first, f"{kind} and {next(iter(results))} differ")

    def check(self, case: Smuggling, result: list, read: int) -> None:
        """`result`: what the client was told, request by request; `read`: what the server counted."""
        understood = [answer for answer in result if answer[0] == 200]
        self.assertEqual(read, len(understood), f"the client was told of {result}")
        for _, _, target, _ in understood:
            self.assertNotIn("evil", target)
        if case.waits:
            self.assertEqual(read, 0)

    def send(self, kind: str, case: Smuggling) -> list[tuple]:
        """Sends the case and, right behind it, one more request. Returns what came back, up to that one's answer."""
        client = self.connect(kind)
        try:
            host = host_of(kind).encode()
            sent = case.sent.replace(PLACEHOLDER, host)
            if case.waits:
                client.send(sent)
                return []
            client.send(sent + b"GET /behind HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            results = []
            while True:
                method = "HEAD" if case.sent.startswith(b"HEAD") and not results else "GET"
                answer = client.response(to=method)
                if answer is None:
                    return results
                self.assertTrue(answer.complete, str(answer))
                results.append(told(answer, method, host_of(kind)))
                if results[-1][2] == "/behind":
                    return results
        finally:
            client.close()

    def ask(self, kind: str) -> dict:
        """What another client gets for an ordinary request."""
        client = self.connect(kind)
        try:
            client.send(f"GET /marker HTTP/1.1\r\nHost: {host_of(kind)}\r\n\r\n".encode())
            answer = client.response()
            self.assertIsNotNone(answer, f"{kind} gives no answer")
            self.assertEqual(answer.status, 200, str(answer))
            said = json.loads(answer.body)
            self.assertEqual((said["method"], said["target"], said["body"]), ("GET", "/marker", ""))
            return said
        finally:
            client.close()

    def connect(self, kind: str) -> Client:
        plain = self.topology.neighbour.connect(Topology.NODE, PORT, seconds=30)
        try:
            return Client(self.context.wrap_socket(plain, server_hostname=host_of(kind)))
        except BaseException:
            plain.close()
            raise

    def explain(self) -> str:
        return f"the node's last words:\n{self.node.tail()}"


def host_of(kind: str) -> str:
    return f"{kind:x<7}.wild.sluice.test"


def told(answer: Response, method: str, host: str) -> tuple:
    """(status, method, target, body) as the server read them; of a refusal the status and the node's words."""
    if answer.status != 200:
        return answer.status, "", "", answer.body
    if method == "HEAD":
        return 200, "HEAD", "", ""
    said = json.loads(answer.body)
    return 200, said["method"], said["target"], said["body"].replace(host, "")
