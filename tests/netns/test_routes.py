"""What routes match, and what they do with requests: by real clients, against backends that are read strictly."""

import contextlib
import socket

from harness import rawhttp
from harness.case import ServedTest, on_both_engines
from harness.network import Topology
from harness.rawhttp import one
from harness.waiting import until

HOST = "routes.wild.sluice.test"
LIMITED = "limited.wild.sluice.test"
PLAIN_PORT = 8080


class Routed(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        cls.servers = {name: rawhttp.Server(cls.topology.backend) for name in ("first", "second")}
        document["backends"] += [
            {"name": name, "servers": [{"url": server.url}]} for name, server in cls.servers.items()]
        document["backends"].append({"name": "own-name", "pass_host": False,
                                     "servers": [{"url": cls.servers["second"].url}]})
        document["listeners"].append({"name": "plain", "address": f"0.0.0.0:{PLAIN_PORT}", "protocol": "http",
                                      "redirect_to_https": 3443})

        def route(name: str, backend: str = "second", host: str = HOST, **more) -> None:
            leads = {} if "redirect" in more else {"backend": backend}
            document["routes"].append({"name": name, "hosts": [host], "auth": "public", **leads, **more})

        route("all", "first")
        route("exact", path="/exact")
        route("posts", path_prefix="/m", methods=["POST"])
        route("canary", path_prefix="/m", headers={"x-canary": "1"})
        route("present", path_prefix="/m", headers={"x-any": True})
        route("clients", path_prefix="/c", clients=[f"{Topology.NEIGHBOUR}/32"])
        route("first-of-all", path_prefix="/priority", priority=5)
        route("deeper", "first", path_prefix="/priority/deeper/still")
        route("rewritten", path_prefix="/app", strip_prefix="/app", add_prefix="/v2",
              request_headers={"set": {"x-set": "ours"}, "remove": ["x-drop"]},
              response_headers={"set": {"x-frame-options": "DENY"}, "remove": ["x-internal"]})
        route("own-name", "own-name", path_prefix="/own")
        route("small", path_prefix="/small", body_bytes=10)
        route("moved", path_prefix="/moved", redirect={"host": "new.test", "port": 444, "status": 302})
        route("limited", host=LIMITED, rate_limit={"requests": 1, "per": "1h", "burst": 3})
        document["routes"].append({"name": "any", "hosts": ["*"], "auth": "public", "backend": "first",
                                   "path_prefix": "/anywhere"})

    def setUp(self) -> None:
        super().setUp()
        for server in self.servers.values():
            server.seen.clear()

    def ask(self, path: str, *lines: str, method: str = "GET", host: str = HOST, body: bytes = b"",
            site=None) -> rawhttp.Response:
        stream = (site or self.neighbour).tls(host, seconds=60)
        with contextlib.closing(rawhttp.Client(stream)) as client:
            client.send("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode() + body)
            response = client.response(to=method)
        self.assertIsNotNone(response)
        return response

    def taken_by(self, path: str, *lines: str, **more) -> str:
        """Which backend got it."""
        self.setUp()
        self.assertEqual(self.ask(path, *lines, **more).status, 200)
        (name,) = [name for name, server in self.servers.items() if server.seen]
        return name


@on_both_engines
class Routes(Routed):
    def test_what_is_matched(self) -> None:
        for path, lines, more, expected in (
                ("/", [], {}, "first"),
                ("/exact", [], {}, "second"),
                ("/exact/", [], {}, "first"),
                ("/exactly", [], {}, "first"),
                ("/m", [], {}, "first"),
                ("/m", ["Content-Length: 0"], {"method": "POST"}, "second"),
                ("/m/x", ["X-Canary: 1"], {}, "second"),
                ("/m/x", ["X-Canary: 2"], {}, "first"),
                ("/m/x", ["X-Any: 2"], {}, "second"),
                ("/c", [], {}, "second"),
                ("/c", [], {"site": self.inside}, "first"),
                ("/priority/deeper/still", [], {}, "second"),
        ):
            with self.subTest(path=path, lines=lines, more=str(more)):
                self.assertEqual(self.taken_by(path, *lines, **more), expected)

    def test_any_host(self) -> None:
        self.assertEqual(self.ask("/anywhere", host="nobody.wild.sluice.test").status, 200)
        self.assertEqual(self.ask("/", host="nobody.wild.sluice.test").status, 404)

    def test_two_readings_of_a_path(self) -> None:
        for path in ("/exact;x", "/x%2f..%2fexact", "/%2fexact"):
            with self.subTest(path):
                self.assertEqual(self.ask(path).status, 400)

    def test_rewriting(self) -> None:
        self.servers["second"].replies["/v2/a"] = rawhttp.Reply(
            b"HTTP/1.1 200 OK\r\nX-Internal: yes\r\nX-Frame-Options: none\r\nContent-Length: 0\r\n\r\n")
        response = self.ask("/app/a?b=c", "X-Drop: 1", "X_Drop: 2", "X-Set: theirs")
        (seen,) = self.servers["second"].seen
        self.assertEqual(seen.target, "/v2/a?b=c")
        self.assertEqual(seen.values("X-Set"), ["ours"])
        self.assertEqual(seen.values("X-Drop") + seen.values("X_Drop"), [])
        self.assertEqual(seen.values("X-Forwarded-Prefix"), ["/app"])
        self.assertEqual(seen.values("X-Forwarded-Server"), ["node-21"])
        self.assertEqual(rawhttp.values(response.fields, "X-Frame-Options"), ["DENY"])
        self.assertEqual(rawhttp.values(response.fields, "X-Internal"), [])
        self.assertEqual(self.ask("/app/..%2f..%2fsecret").status, 400)

    def test_a_backend_that_wants_its_own_name(self) -> None:
        self.assertEqual(self.ask("/own").status, 200)
        (seen,) = self.servers["second"].seen
        self.assertEqual(seen.values("Host"), [self.servers["second"].url.removeprefix("http://")])
        self.assertEqual(seen.values("X-Forwarded-Host"), [HOST])

    def test_bodies_that_are_too_large(self) -> None:
        self.assertEqual(self.ask("/small", "Content-Length: 10", method="POST", body=bytes(10)).status, 200)
        self.assertEqual(self.ask("/small", "Content-Length: 11", method="POST", body=bytes(11)).status, 413)
        chunked = b"6\r\n012345\r\n5\r\n6789a\r\n0\r\n\r\n"
        self.assertEqual(self.ask("/small", "Transfer-Encoding: chunked", method="POST", body=chunked).status, 413)
        self.assertEqual(len(self.servers["second"].seen), 1)

    def test_redirects(self) -> None:
        response = self.ask("/moved/../moved/a?b")
        self.assertEqual((response.status, one(response.fields, "Location")), (302, "https://new.test:444/moved/a?b"))
        with contextlib.closing(rawhttp.Client(self.topology.neighbour.connect(
                Topology.NODE, PLAIN_PORT, seconds=60))) as client:
            client.send(f"GET /a?b HTTP/1.1\r\nHost: {HOST}:{PLAIN_PORT}\r\n\r\n".encode())
            response = client.response()
        self.assertEqual((response.status, one(response.fields, "Location")),
                         (308, f"https://{HOST}:3443/a?b"))
        self.assertEqual(self.servers["first"].seen + self.servers["second"].seen, [])

    def test_rate_limit(self) -> None:
        # Both workers count together, and an hour is longer than any pause of this machine.
        statuses = [self.ask("/", host=LIMITED).status for _ in range(8)]
        self.assertEqual(statuses, [200] * 3 + [429] * 5)
        response = self.ask("/", host=LIMITED)
        self.assertGreater(int(one(response.fields, "Retry-After")), 60)
        self.assertEqual(self.ask("/", host=LIMITED, site=self.inside).status, 200)


@on_both_engines
class SourceLimits(ServedTest):
    MOST = 5

    @classmethod
    def configure(cls, document) -> None:
        document["limits"] = {"connections_per_client": cls.MOST}

    def drops(self, reason: str) -> int:
        return self.node.status()["drops"].get(reason, 0)

    def is_refused(self, stream: socket.socket) -> bool:
        """A refused connection is closed before a byte of TLS is said."""
        with contextlib.suppress(ConnectionError):
            return stream.recv(1) == b""
        return True

    def test_connections_of_one_source(self) -> None:
        kept = []
        with contextlib.ExitStack() as stack:
            for _ in range(self.MOST):
                kept.append(stack.enter_context(self.neighbour.tls(None, seconds=60)))
            self.assertTrue(self.is_refused(stack.enter_context(self.neighbour.plain(seconds=60))))
            until(lambda: self.drops("source_connection_limit") > 0, "the drop is counted", 30)
            # Others are not concerned, and neither are peers of the tunnel.
            for _ in range(self.MOST + 2):
                stack.enter_context(self.inside.tls(None, seconds=60))
        # When they are gone there is room again.
        until(self.can_connect, "a connection is taken again", 60)

    def can_connect(self) -> bool:
        with contextlib.suppress(OSError), self.neighbour.tls(None, seconds=60):
            return True
        return False
