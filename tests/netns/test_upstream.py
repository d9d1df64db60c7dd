"""Servers of every kind: behind TLS, behind a Unix socket, by name; checked, ejected, kept by a cookie, taken away."""

import contextlib
import http.server
import shutil
import socket
import socketserver
import ssl
import struct
import threading
from pathlib import Path

from harness import cleanup, processes
from harness.backend import Backend
from harness.case import ServedTest, on_both_engines
from harness.network import Topology, add_address, authority
from harness.payload import Payload
from harness.pki import Authority, expires_within
from harness.waiting import until

SECOND = "192.168.78.3"  # the backend machine's second address
NAME = "app.sluice.test"


class Greeter(http.server.BaseHTTPRequestHandler):
    """Says who it is, or what the server's `say` is for this path."""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, body = self.server.say(self)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class TlsServer(http.server.ThreadingHTTPServer):
    """Python's ssl: a TLS server of somebody else's making. What fails in handshakes is kept quiet."""
    daemon_threads = True

    def __init__(self, topology: Topology, certificate: tuple[Path, Path], clients: Authority | None = None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        if clients is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(clients.certificate)
        self.resumed = 0
        with topology.backend.entered():
            super().__init__((Topology.BACKEND, 0), Greeter)
        _serve(self)

    @property
    def url(self) -> str:
        return f"https://{authority(*self.server_address[:2])}"

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        request.settimeout(30)
        with self.context.wrap_socket(request, server_side=True) as wrapped:
            self.resumed += wrapped.session_reused
            self.RequestHandlerClass(wrapped, client_address, self)
            # Python would not say close_notify, and sessions of connections without are not resumed.
            wrapped.unwrap()

    def say(self, handler: Greeter) -> tuple[int, bytes]:
        certificate = handler.connection.getpeercert()
        subject = dict(entry[0] for entry in certificate["subject"]) if certificate else {}
        if handler.path == "/close":
            handler.close_connection = True
        return 200, f"tls {subject.get('commonName', 'nobody')}".encode()

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path):
        super().__init__(str(path), Greeter)
        _serve(self)

    def say(self, handler: Greeter) -> tuple[int, bytes]:
        return 200, b"unix " + handler.path.encode()


class MoodyServer(http.server.ThreadingHTTPServer):
    """Well, or not."""
    daemon_threads = True

    def __init__(self, topology: Topology):
        self.well = True
        self.checks = 0
        self.requests = 0
        with topology.backend.entered():
            super().__init__((Topology.BACKEND, 0), Greeter)
        self.url = f"http://{authority(*self.server_address[:2])}"
        self.name = str(self.server_address[1]).encode()
        _serve(self)

    def say(self, handler: Greeter) -> tuple[int, bytes]:
        if handler.path == "/healthz":
            self.checks += 1
            return (200 if self.well else 500), b""
        self.requests += 1
        return (200 if self.well else 503), self.name


def urls(servers: list[MoodyServer] | list[Backend]) -> list[dict[str, str]]:
    return [{"url": server.url} for server in servers]


def _serve(server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    cleanup.later(server.server_close)
    cleanup.later(server.shutdown)


class NameServer:
    """Answers every question for an A record with `addresses`; there are no AAAA records."""

    def __init__(self, topology: Topology, *addresses: str):
        self.addresses = list(addresses)
        self.socket = topology.backend.make_socket(socket.SOCK_DGRAM)
        self.socket.bind((Topology.BACKEND, 53))
        threading.Thread(target=self._run, daemon=True).start()
        cleanup.later(self.close)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it is not connected, but its thread wakes up
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _run(self) -> None:
        while True:
            try:
                query, client = self.socket.recvfrom(512)
            except OSError:
                return
            if not query:
                return
            end = query.index(b"\0", 12) + 5
            addresses = list(self.addresses) if query[end - 3] == 1 else []
            answer = query[:2] + struct.pack(">HHHHH", 0x8580, 1, len(addresses), 0, 0) + query[12:end]
            for address in addresses:
                answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
            self.socket.sendto(answer, client)


class ClientAuthority(Authority):
    """Its certificates may be shown by clients."""

    def issue(self, name, hosts, days=397):
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        processes.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                       "-keyout", str(key), "-subj", f"/CN={hosts[0]}", "-out", str(request)])
        extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=clientAuth\n")
        processes.run(["openssl", "x509", "-req", "-sha256", "-in", str(request), "-CA", str(self.certificate),
                       "-CAkey", str(self.directory / "ca.key"), "-CAcreateserial", "-days", str(days),
                       "-extfile", str(extensions), "-out", str(certificate)])
        return certificate, key


@on_both_engines
class Upstream(ServedTest):
    @classmethod
    def configure(cls, document) -> None:
        topology = cls.topology
        cls.document = document
        # Each worker judges servers by itself, and has connections and sessions of its own.
        document["node"]["workers"] = 1
        document["limits"] = {"progress_timeout": "2s", "handshakes_per_client": 0, "connections_per_client": 0}
        cls.other = Authority(cls.make_folder("other"), "Another CA")
        good = cls.authority.issue("backend", ["backend.internal"])
        expired = cls.authority.issue("expired", ["backend.internal"], days=0)
        ours = cls.authority_for_clients().issue("sluice", ["sluice"])
        cls.tls = TlsServer(topology, good)
        stale = TlsServer(topology, expired)
        strange = TlsServer(topology, cls.other.issue("strange", ["backend.internal"]))
        asking = TlsServer(topology, cls.authority.issue("asking", ["asking.internal"]), cls.clients)
        UnixServer(cls.directory / "app.sock")
        cls.checked = cls.two_moody()
        cls.resting = cls.two_moody()
        cls.returning = cls.two_moody()
        cls.least = [Backend(topology.backend), Backend(topology.backend)]
        cls.leaving = [Backend(topology.backend), Backend(topology.backend)]

        add_address(topology.backend, "node0", f"{SECOND}/24")
        cls.first = Backend(topology.backend)
        cls.second = Backend(topology.backend, SECOND, cls.first.port)
        cls.names = NameServer(topology, Topology.BACKEND)
        cls.use_name_server()

        ca = {"ca_file": cls.authority.certificate}
        named = {**ca, "server_name": "backend.internal"}
        for name, server in {
            "good": {"url": cls.tls.url, **named},
            "othername": {"url": cls.tls.url, **ca, "server_name": "elsewhere.internal"},
            "byaddress": {"url": cls.tls.url, **ca},
            "strange": {"url": strange.url, **named},
            "machine": {"url": cls.tls.url, "server_name": "backend.internal"},
            "unverified": {"url": strange.url, "verify": False},
            "expired": {"url": stale.url, **named},
            "withkey": {"url": asking.url, **ca, "server_name": "asking.internal",
                        "cert_file": ours[0], "key_file": ours[1]},
            "withoutkey": {"url": asking.url, **ca, "server_name": "asking.internal"},
            "notls": {"url": cls.backend.url.replace("http:", "https:"), **named},
            "unix": {"url": f"unix:{cls.directory}/app.sock"},
            "nounix": {"url": f"unix:{cls.directory}/nobody.sock"},
            "named": {"url": f"http://{NAME}:{cls.first.port}"},
        }.items():
            cls.add(name, [server])
        cls.add("checked", urls(cls.checked), ejection={"failures": 0, "slow_start": "100ms"},
                health={"path": "/healthz", "interval": "1s", "unhealthy_after": 1})
        cls.add("sticky", urls(cls.checked), sticky=True)
        cls.add("resting", urls(cls.resting), ejection={"failures": 3, "rest": "1h"})
        cls.add("returning", urls(cls.returning), ejection={"failures": 3, "rest": "500ms", "slow_start": "1h"})
        cls.add("least", urls(cls.least), balance="least-connections")
        cls.add("leaving", urls(cls.leaving))
        cls.add("stalls", urls([cls.first]), response_timeout="2s")
        until(lambda: expires_within(expired[0], 0), "a certificate without a day to live has expired")

    @classmethod
    def add(cls, name: str, servers: list[dict], **options: object) -> None:
        cls.document["backends"].append({"name": name, "servers": servers, **options})
        cls.document["routes"].append({"name": name, "hosts": [f"{name}.wild.sluice.test"], "auth": "public",
                                       "backend": name})

    @classmethod
    def two_moody(cls) -> list[MoodyServer]:
        return [MoodyServer(cls.topology), MoodyServer(cls.topology)]

    @classmethod
    def make_folder(cls, name: str) -> Path:
        folder = cls.directory / name
        folder.mkdir()
        return folder

    @classmethod
    def authority_for_clients(cls) -> Authority:
        cls.clients = ClientAuthority(cls.make_folder("clients"), "Clients' CA")
        return cls.clients

    @classmethod
    def use_name_server(cls) -> None:
        """ip-netns(8) puts this in the place of /etc/resolv.conf for what is started in there."""
        folder = Path("/etc/netns") / cls.topology.node.name
        folder.mkdir(parents=True, exist_ok=True)
        cleanup.later(lambda: shutil.rmtree(folder, ignore_errors=True))
        (folder / "resolv.conf").write_text(f"nameserver {Topology.BACKEND}\n")

    def fetch(self, name: str, path: str = "/", **options):
        return self.neighbour.fetch(f"{name}.wild.sluice.test", path, **options)

    def test_a_server_whose_certificate_is_right_is_asked(self) -> None:
        answer = self.fetch("good")
        self.assertEqual((answer.status, answer.body), (200, b"tls nobody"), str(answer))

    def test_a_server_that_is_not_what_it_should_be_is_502(self) -> None:
        for name in ("othername", "byaddress", "strange", "machine", "expired", "withoutkey", "notls"):
            with self.subTest(name):
                answer = self.fetch(name)
                self.assertEqual(answer.status, 502, str(answer))
                self.assertNotIn(b"tls", answer.body)

    def test_a_server_that_need_not_prove_anything_is_asked(self) -> None:
        self.assertEqual(self.fetch("unverified").status, 200)

    def test_a_server_that_wants_our_certificate_gets_it(self) -> None:
        answer = self.fetch("withkey")
        self.assertEqual((answer.status, answer.body), (200, b"tls sluice"), str(answer))

    def test_sessions_with_a_server_are_resumed(self) -> None:
        def resumes() -> bool:
            self.assertEqual(self.fetch("good", "/close").status, 200)
            return self.tls.resumed > 0

        until(resumes, "a TLS session with the server is used again", seconds=30)

    def test_a_server_behind_a_unix_socket(self) -> None:
        answer = self.fetch("unix", "/path")
        self.assertEqual((answer.status, answer.body), (200, b"unix /path"), str(answer))
        self.assertEqual(self.fetch("nounix").status, 502)

    def test_a_server_that_is_not_well_gets_nothing_until_it_is(self) -> None:
        sick, well = self.checked
        until(lambda: sick.checks >= 2 and well.checks >= 2, "both servers are checked", seconds=30)

        def asked() -> set[bytes]:
            return {self.fetch("checked").body for _ in range(6)}

        until(lambda: asked() == {sick.name, well.name}, "both servers are asked", seconds=30)
        sick.well = False
        until(lambda: asked() == {well.name}, "only the well server is asked", seconds=60)
        self.assertEqual(self.state("checked", sick), "unhealthy")
        sick.well = True
        until(lambda: asked() == {sick.name, well.name}, "both servers are asked again", seconds=60)

    def state(self, backend: str, server: MoodyServer) -> str:
        _, answer = self.node.ask("/v1/backends")
        (servers,) = [each["servers"] for each in answer["backends"] if each["name"] == backend]
        (found,) = [each for each in servers if each["url"] == server.url]
        return found["state"]

    def until_ejected(self, backend: str, server: MoodyServer) -> None:
        server.well = False
        seen = 0
        for _ in range(6):
            seen += self.fetch(backend).status == 503
        self.assertEqual(seen, 3, "it gets every other request until it has failed three times in a row")

    def test_a_server_that_fails_is_left_alone(self) -> None:
        sick, well = self.resting
        self.until_ejected("resting", sick)
        for _ in range(6):
            self.assertEqual(self.fetch("resting").body, well.name)
        self.assertEqual(sick.requests, 3)
        until(lambda: self.state("resting", sick) == "ejected", "the state is shown")
        self.assertEqual(self.state("resting", well), "serving")

    def test_a_server_that_has_rested_comes_back_slowly(self) -> None:
        sick, well = self.returning
        self.until_ejected("returning", sick)
        sick.well = True
        until(lambda: self.state("returning", sick) == "recovering", "it has rested", seconds=30)
        before = sick.requests, well.requests
        connection = self.neighbour.keep_alive("returning.wild.sluice.test")
        for _ in range(44):
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 200)
        connection.close()
        # A tenth of its weight in the first minutes of the hour.
        self.assertIn(sick.requests - before[0], range(3, 7))
        self.assertEqual(sick.requests - before[0] + well.requests - before[1], 44)

    def test_a_busy_server_gets_less(self) -> None:
        payload = Payload(seed=1, size=2 << 20)
        busy, free = self.least
        paced = [server.paced(payload) for server in self.least]
        self.assertEqual(paced[0].path, paced[1].path)
        download = self.neighbour.download("least.wild.sluice.test", paced[0].path)
        self.addCleanup(download.give_up)
        until(lambda: busy.requests["/paced"] + free.requests["/paced"] == 1, "the long request has arrived")
        if free.requests["/paced"]:
            busy, free, paced = free, busy, paced[::-1]
        for _ in range(6):
            self.assertEqual(self.fetch("least", "/echo").status, 200)
        self.assertEqual((busy.requests["/echo"], free.requests["/echo"]), (0, 6))
        paced[0].let_go(2)
        self.assertEqual(download.finish(), payload.sha256())

    def test_a_server_that_stalls_in_its_body_breaks_the_clients_connection(self) -> None:
        """No part may be taken for the whole, and nobody waits for ever."""
        paced = self.first.paced(Payload(seed=2, size=2 << 20))
        download = self.neighbour.download("stalls.wild.sluice.test", paced.path, seconds=60)
        paced.let_go(1)
        with self.assertRaisesRegex(AssertionError, "the download failed after 1048576 bytes"):
            download.finish()

    def test_a_server_that_a_reload_takes_away_ends_its_requests_first(self) -> None:
        payload = Payload(seed=3, size=2 << 20)
        paced = [server.paced(payload) for server in self.leaving]
        goes, stays = self.leaving
        download = self.neighbour.download("leaving.wild.sluice.test", paced[0].path)
        self.addCleanup(download.give_up)
        until(lambda: goes.requests["/paced"] + stays.requests["/paced"] == 1, "the long request has arrived")
        if stays.requests["/paced"]:
            goes, stays, paced = stays, goes, paced[::-1]
        paced[0].let_go(1)
        download.read(1 << 19)  # curl keeps some of what it got to itself
        for _ in range(4):  # a connection to it waits, besides that of the download
            self.assertEqual(self.fetch("leaving", "/echo").status, 200)
        self.assertEqual((goes.requests["/echo"], stays.requests["/echo"]), (2, 2))
        until(lambda: len(goes.open_connections) == 2, "the connection waits")
        (backend,) = [each for each in self.node.document["backends"] if each["name"] == "leaving"]
        backend["servers"] = urls([stays])
        self.node.write()
        reload = self.node.reload()
        self.assertEqual(reload.returncode, 0, reload.stderr)
        until(lambda: len(goes.open_connections) == 1, "the connection that waits is closed", seconds=30)
        before = goes.requests["/echo"]
        for _ in range(4):
            self.assertEqual(self.fetch("leaving", "/echo").status, 200)
        self.assertEqual(goes.requests["/echo"], before)
        paced[0].let_go(1)
        self.assertEqual(download.finish(), payload.sha256())
        until(lambda: not goes.open_connections, "its last connection is closed", seconds=30)

    def test_a_client_keeps_its_server(self) -> None:
        jar = self.directory / f"jar-{self.id().rpartition('.')[2]}"
        # The jar's name for the host is the one that curl was asked for.
        options = ("--cookie-jar", str(jar), "--cookie", str(jar))
        first = self.fetch("sticky", options=options)
        self.assertEqual(first.status, 200, str(first))
        self.assertIn("sluice_server=", first.headers.get("set-cookie", ""))
        for _ in range(12):
            again = self.fetch("sticky", options=options)
            self.assertEqual(again.body, first.body)
            self.assertNotIn("set-cookie", again.headers)
        others = {self.fetch("sticky").body for _ in range(12)}
        self.assertEqual(len(others), 2, "without the cookie both servers are asked")

    def test_a_name_is_followed(self) -> None:
        self.names.addresses = [Topology.BACKEND]
        until(lambda: self.fetch("named", "/echo").status == 200, "the name's server is asked", seconds=30)
        self.names.addresses = [SECOND]

        def has_moved() -> bool:
            before = self.second.requests["/echo"]
            answer = self.fetch("named", "/echo")
            self.assertEqual(answer.status, 200, str(answer))
            return self.second.requests["/echo"] > before

        until(has_moved, "requests go to the name's new address", seconds=60)
