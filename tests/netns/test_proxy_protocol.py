"""Load balancers in front: who the client is, by the PROXY protocol of those that may say so, and of nobody else."""

import contextlib
import json
import shutil
import socket
import ssl
import struct
import unittest

from harness import rawhttp
from harness.case import PORT, ServedTest, on_both_engines
from harness.network import Namespace, Topology, authority
from harness.waiting import until

HOST = "clients.wild.sluice.test"
CLOSED = "closed.wild.sluice.test"   # tailscale-only
LIMITED = "limited.wild.sluice.test"
PLAIN, EXPECTING = 8080, 3444        # without TLS; with TLS, of which the tunnel's client may send headers too
CLIENT, CLIENT_PORT = "203.0.113.7", 40000
CLIENT6 = "2001:db8::7"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SECONDS = 60

_HAPROXY = """
defaults
    mode tcp
    timeout connect 1m
    timeout client 1h
    timeout server 1h
"""
_WAY = """
listen {name}
    bind {bind}
    server node {node} {how}
"""


def line(client: str = CLIENT, server: str = Topology.NODE) -> bytes:
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {server} {CLIENT_PORT} 443\r\n".encode()


def binary(client: str = CLIENT, server: str = Topology.NODE, *, command: int = 0x21, more: bytes = b"") -> bytes:
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    rest = (socket.inet_pton(family, client) + socket.inet_pton(family, server)
            + struct.pack(">HH", CLIENT_PORT, 443) + more)
    return SIGNATURE + bytes([command, 0x21 if ":" in client else 0x11]) + struct.pack(">H", len(rest)) + rest


class LoadBalancerTest(ServedTest):
    """The neighbour is the load balancer."""

    @classmethod
    def configure(cls, document) -> None:
        cls.log_file = cls.directory / "access.log"
        document["log"] = {"access": str(cls.log_file)}
        named = [f"{Topology.NEIGHBOUR}/32", f"{Topology.NEIGHBOUR6}/128"]
        for listener in document["listeners"]:
            listener["proxy_protocol_from"] = named
        document["listeners"] += [
            {"name": "plain", "address": f"0.0.0.0:{PLAIN}", "protocol": "http", "proxy_protocol_from": named},
            {"name": "expecting", "address": f"0.0.0.0:{EXPECTING}",
             "proxy_protocol_from": [*named, f"{Topology.CLIENT_INNER}/32"]}]
        cls.server = rawhttp.Server(cls.topology.backend)
        document["backends"].append({"name": "seen", "servers": [{"url": cls.server.url}]})
        document["routes"] += [
            {"name": "clients", "hosts": [HOST], "auth": "public", "backend": "seen"},
            {"name": "one-client", "hosts": [HOST], "path_prefix": "/vip", "clients": [f"{CLIENT}/32"],
             "auth": "public", "backend": "seen", "add_prefix": "/one-client"},
            {"name": "limited", "hosts": [LIMITED], "auth": "public", "backend": "seen",
             "rate_limit": {"requests": 1, "per": "1h", "burst": 2}},
            {"name": "closed", "hosts": [CLOSED], "auth": "tailscale-only", "backend": "seen"}]

    def drops(self, reason: str) -> int:
        return self.node.status()["drops"].get(reason, 0)

    def connect(self, header: bytes, *, port: int = PORT, host: str = HOST, tls: bool = True, pieces: bool = False,
                site: Namespace | None = None, address: str = Topology.NODE) -> rawhttp.Client:
        """A connection that begins with these bytes and goes on as a client's."""
        plain = (site or self.topology.neighbour).connect(address, port, seconds=SECONDS)
        self.addCleanup(plain.close)
        for piece in (header[i:i + 1] for i in range(len(header))) if pieces else [header]:
            plain.sendall(piece)
        if not tls:
            return rawhttp.Client(plain)
        context = ssl.create_default_context(cafile=self.authority.certificate)
        stream = context.wrap_socket(plain, server_hostname=host)
        self.addCleanup(stream.close)
        return rawhttp.Client(stream)

    def ask(self, client: rawhttp.Client, path: str = "/", host: str = HOST) -> int:
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = client.response()
        self.assertIsNotNone(response)
        return response.status

    def forwarded_for(self, client: rawhttp.Client, path: str = "/") -> list[str]:
        self.server.seen.clear()
        self.assertEqual(self.ask(client, path), 200)
        (seen,) = self.server.seen
        return seen.values("X-Forwarded-For")

    def assert_closed(self, client: rawhttp.Client) -> None:
        self.assertTrue(client.is_closed())

    def assert_refused(self, header: bytes, reason: str, *, follows: bytes = b"") -> None:
        for port in (PORT, PLAIN):
            before = self.drops(reason)
            client = self.connect(b"", port=port, tls=False)
            client.send(header + follows)
            self.assert_closed(client)
            until(lambda: self.drops(reason) > before, f"{reason} is counted", SECONDS)


@unittest.skipIf(shutil.which("haproxy") is None, "haproxy is not installed")
@on_both_engines
class ProxyProtocol(LoadBalancerTest):
    MOST = 40  # more than any other test opens at once for one client

    @classmethod
    def configure(cls, document) -> None:
        super().configure(document)
        document["limits"] = {"connections_per_client": cls.MOST}

    # What a header is believed.

    def test_both_versions_and_families_over_tls_and_without(self) -> None:
        for header, expected in (
                (line(), CLIENT), (line(CLIENT6, Topology.NODE6), CLIENT6),
                (line(f"::ffff:{CLIENT}", f"::ffff:{Topology.NODE}"), CLIENT),
                (binary(), CLIENT), (binary(CLIENT6, Topology.NODE6), CLIENT6),
                (binary(more=b"\x02\0\x06a.test" + b"\x04\x0f\x00" + bytes(3840)), CLIENT)):
            for port, tls in ((PORT, True), (PLAIN, False)):
                for pieces in (False, True):
                    with self.subTest(header=header[:60], tls=tls, pieces=pieces):
                        client = self.connect(header, port=port, tls=tls, pieces=pieces)
                        self.assertEqual(self.forwarded_for(client), [expected])
                        # The header is the connection's, so all of its requests are that client's.
                        self.assertEqual(self.forwarded_for(client), [expected])

    def test_a_request_in_the_packet_of_its_header(self) -> None:
        client = self.connect(line() + f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), port=PLAIN, tls=False)
        self.assertEqual(client.response().status, 200)

    def test_a_load_balancer_that_speaks_for_itself(self) -> None:
        for header in (b"PROXY UNKNOWN\r\n", binary(command=0x20), SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\0\0\0"):
            with self.subTest(header=header):
                self.assertEqual(self.forwarded_for(self.connect(header)), [Topology.NEIGHBOUR])

    def test_over_ipv6(self) -> None:
        client = self.connect(binary(CLIENT6, Topology.NODE6), address=Topology.NODE6)
        self.assertEqual(self.forwarded_for(client), [CLIENT6])

    def test_routes_and_limits_are_about_the_client(self) -> None:
        self.server.seen.clear()
        self.assertEqual(self.ask(self.connect(line()), "/vip"), 200)
        self.assertEqual(self.ask(self.connect(line("203.0.113.8")), "/vip"), 200)
        self.assertEqual([seen.target for seen in self.server.seen], ["/one-client/vip", "/vip"])
        for client in ("203.0.113.21", "203.0.113.22"):
            statuses = [self.ask(self.connect(binary(client), host=LIMITED), host=LIMITED) for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429])

    def test_connections_are_counted_for_the_client(self) -> None:
        for client in ("203.0.113.31", "203.0.113.32"):  # together more than one source may have
            for _ in range(self.MOST):
                self.assertEqual(self.ask(self.connect(line(client), port=PLAIN, tls=False)), 200)
        before = self.drops("source_connection_limit")
        self.assert_closed(self.connect(line("203.0.113.31"), tls=False))
        until(lambda: self.drops("source_connection_limit") > before, "the drop is counted", SECONDS)
        # And its own connections are not counted at all.
        for _ in range(self.MOST + 1):
            self.assertEqual(self.ask(self.connect(b"PROXY UNKNOWN\r\n", port=PLAIN, tls=False)), 200)

    def test_the_access_log_names_the_client(self) -> None:
        self.assertEqual(self.ask(self.connect(binary()), "/logged"), 200)

        def found() -> list[dict]:
            text = self.log_file.read_text() if self.log_file.exists() else ""
            lines = [json.loads(own) for own in text.split("\n")[:-1]]
            return [own for own in lines if own.get("path") == "/logged"]

        until(found, "a line about the request", SECONDS)
        self.assertEqual((found()[0]["client"], found()[0]["client_port"]), (CLIENT, CLIENT_PORT))

    # What it is not believed.

    def test_a_tunnel_address_in_a_header_is_no_peer(self) -> None:
        for claimed in (Topology.CLIENT_INNER, f"::ffff:{Topology.CLIENT_INNER}", Topology.CLIENT_INNER6):
            server = Topology.NODE6 if ":" in claimed else Topology.NODE
            for header in (line(claimed, server), binary(claimed, server)):
                with self.subTest(header=header):
                    self.assertEqual(self.ask(self.connect(header, host=CLOSED), host=CLOSED), 403)

    def test_a_peer_that_is_a_load_balancer_is_no_peer_either(self) -> None:
        """Its connections come through the tunnel, and are still somebody else's."""
        open_way = self.inside.tls(CLOSED, seconds=SECONDS)
        self.addCleanup(open_way.close)
        self.assertEqual(self.ask(rawhttp.Client(open_way), host=CLOSED), 200)
        for header in (line(), binary(Topology.CLIENT_INNER), b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0"):
            with self.subTest(header=header):
                client = self.connect(header, port=EXPECTING, host=CLOSED, site=self.topology.client,
                                      address=Topology.NODE_INNER)
                self.assertEqual(self.ask(client, host=CLOSED), 403)

    def test_others_may_send_none(self) -> None:
        stranger = self.topology.client  # beside its tunnel
        self.assertEqual(self.forwarded_for(self.connect(b"", site=stranger)), [Topology.CLIENT])
        for header in (line(), binary()):
            before = self.drops("tls_handshake_failed")
            client = self.connect(header, site=stranger, tls=False)
            client.send(bytes(100))
            client.stream.settimeout(SECONDS)
            with contextlib.suppress(ConnectionError):
                while client.stream.recv(4096):  # an alert
                    pass
            until(lambda: self.drops("tls_handshake_failed") > before, "the drop is counted", SECONDS)
            self.server.seen.clear()
            client = self.connect(header, site=stranger, port=PLAIN, tls=False)
            client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            self.assertEqual(client.response().status, 400)
            self.assertEqual(self.server.seen, [])

    # What is refused.

    def test_none_where_one_has_to_come(self) -> None:
        self.assert_refused(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), "proxy_header_missing")
        self.assert_refused(b"\x16\x03\x01\x02\x00\x01", "proxy_header_missing")
        self.assert_refused(b"X", "proxy_header_missing")

    def test_bad_ones(self) -> None:
        for header in (b"PROXY TCP4 203.0.113.7 192.168.77.21 65536 443\r\n", b"PROXY / HTTP/1.1\r\n",
                       b"PROXY TCP6 203.0.113.7 192.168.77.21 1 443\r\n", b"PROXY " + b"x" * 200,
                       binary(command=0x31), binary(command=0x22), binary()[:14] + b"\xff\xff",
                       binary(more=b"\x03\0\x04abcd"), binary(more=b"\x04\0\x09")):
            with self.subTest(header=header[:60]):
                self.assert_refused(header, "proxy_header_malformed")

    def test_one_that_breaks_off(self) -> None:
        for header in (line()[:-1], binary()[:-1]):
            before = self.drops("proxy_header_malformed")
            client = self.connect(header, tls=False)
            client.stream.shutdown(socket.SHUT_WR)
            self.assert_closed(client)
            until(lambda: self.drops("proxy_header_malformed") > before, "the drop is counted", SECONDS)

    # Those that send it in earnest.

    def test_haproxy(self) -> None:
        ports = iter(range(20000, 20100))
        ways = {}
        text = _HAPROXY
        for how in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id check"):
            for bind, to in ((Topology.NEIGHBOUR, Topology.NODE), (Topology.NEIGHBOUR6, Topology.NODE6)):
                port = next(ports)
                ways[bind, port] = how
                text += _WAY.format(name=f"way{port}", bind=f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}",
                                    node=authority(to, PORT), how=how)
        configuration = self.directory / "haproxy.conf"
        configuration.write_text(text)
        process = self.topology.neighbour.start(["haproxy", "-db", "-f", str(configuration)],
                                                self.directory / "haproxy.log")

        def listens(address: str, port: int) -> bool:
            self.assertIsNone(process.exit_code(), process.output())
            with contextlib.suppress(ConnectionRefusedError):
                self.topology.client.connect(address, port, seconds=SECONDS).close()
                return True
            return False

        for (address, port), how in ways.items():
            with self.subTest(how=how, address=address):
                until(lambda: listens(address, port), "HAProxy listens", SECONDS)
                client = self.connect(b"", port=port, site=self.topology.client, address=address)
                expected = Topology.CLIENT6 if ":" in address else Topology.CLIENT
                self.assertEqual(self.forwarded_for(client), [expected])
                closed = self.connect(b"", port=port, host=CLOSED, site=self.topology.client, address=address)
                self.assertEqual(self.ask(closed, host=CLOSED), 403)

    def test_curl(self) -> None:
        self.server.seen.clear()
        answer = self.neighbour.fetch(HOST, "/", options=["--haproxy-protocol"], seconds=SECONDS)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.server.seen[0].values("X-Forwarded-For"), [Topology.NEIGHBOUR])
        self.assertEqual(self.neighbour.fetch(HOST, "/", seconds=SECONDS).status, 0)


@on_both_engines
class ProxyProtocolPatience(LoadBalancerTest):
    @classmethod
    def configure(cls, document) -> None:
        super().configure(document)
        document["limits"] = {"handshake_timeout": "2s"}

    def test_a_header_that_does_not_come_in_time(self) -> None:
        before = self.drops("client_timeout")
        clients = [self.connect(header, tls=False, port=port)
                   for header in (b"", line()[:20], binary()[:20]) for port in (PORT, PLAIN)]
        for client in clients:
            self.assert_closed(client)
        until(lambda: self.drops("client_timeout") >= before + len(clients), "the drops are counted", SECONDS)
        # Who has said whose it is has as long as any other client.
        self.assertEqual(self.ask(self.connect(line(), port=PLAIN, tls=False)), 200)
